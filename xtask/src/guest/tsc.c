// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Prints the frequency of this machine's TSC in kHz. See clock.rs.

#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

struct sample {
	uint64_t tsc;
	uint64_t nanoseconds;
};

// Both clocks at one moment: of many tries, the one that was interrupted least.
static struct sample now(void)
{
	struct sample best = { 0, 0 };
	uint64_t shortest = UINT64_MAX;

	for (int i = 0; i < 1000; i++) {
		struct timespec t;
		uint64_t before = __rdtsc();
		clock_gettime(CLOCK_MONOTONIC, &t);
		uint64_t took = __rdtsc() - before;

		if (took < shortest) {
			shortest = took;
			best.tsc = before + took / 2;
			best.nanoseconds = t.tv_sec * 1000000000ull + t.tv_nsec;
		}
	}
	return best;
}

int main(void)
{
	struct timespec pause = { 0, 200000000 };
	struct sample first = now();
	nanosleep(&pause, NULL);
	struct sample last = now();

	printf("%.0f\n", (double)(last.tsc - first.tsc) * 1e6 /
			 (double)(last.nanoseconds - first.nanoseconds));
	return 0;
}
