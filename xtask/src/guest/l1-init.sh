#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# PID 1 of L1, the virtual machine whose kernel has the real /dev/vfio. It makes the host's own root
# visible, so that every binary built outside runs inside, and runs /run/testbed/job there.
#
# ttyS0 is the console (the boot log), ttyS1 carries what the job prints, the 9p share `share`
# carries the job, its exit status and any file a test wants to keep.

/bin/busybox mkdir -p /proc /sys /dev /host /memory /root
/bin/busybox --install -s /bin
export PATH=/bin

say() { echo "testbed: $*" >/dev/console; }

# Power is cut at once: everything worth keeping is in the share, which is written through.
off() {
    sync
    echo o >/proc/sysrq-trigger
    while :; do sleep 1; done
}

die() {
    say "cannot go on: $*"
    off
}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
echo 1 >/proc/sys/kernel/sysrq

# KVM remembers the TSC's frequency when it is loaded. The kernel corrects it about a second after
# boot, and where the first value was too high by more than 250 ppm, as happens on a busy machine,
# KVM then runs every guest in TSC catch-up mode: its clock jumps, its timer ends up a minute ahead,
# and it stands still. (To see it: tsc_early_khz= with 0.2 % too much.)
wait_for_clock() {
    tries=0
    until [ "$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)" = tsc ]; do
        tries=$((tries + 1))
        [ $tries -le 100 ] || die "the TSC is no clock after 10 s"
        sleep 0.1
    done
}

while read -r module; do
    [ "$module" != kvm.ko ] || wait_for_clock
    insmod "/modules/$module" || say "insmod $module: exit status $?"
done </modules/order

options=trans=virtio,version=9p2000.L,msize=524288
mount -t 9p -o "ro,cache=loose,$options" host /host || die "the host's root did not mount"

# The root is the host's, read-only; what is written stays in memory and ends with the boot.
mount -t tmpfs tmpfs /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work root /root ||
    die "the overlay over the host's root did not mount"

mount --rbind /proc /root/proc
mount --rbind /sys /root/sys
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount --rbind /dev /root/dev
mount -t tmpfs tmpfs /root/run
mkdir /root/run/testbed
mount -t 9p -o "cache=none,access=any,$options" share /root/run/testbed || die "the share did not mount"

# The host looks at its age, to tell a machine that is slow from one that stands still.
while sleep 5; do echo >/root/run/testbed/heartbeat; done &

ip link set lo up
ulimit -l unlimited
ulimit -c 0

input=/dev/ttyS1
if [ ! -f /root/run/testbed/interactive ]; then
    stty -F /dev/ttyS1 raw -echo
    # The host's pulse: what counts is that it interrupts.
    cat /dev/ttyS1 >/dev/null &
    input=/dev/null
fi
setsid -c chroot /root /bin/sh /run/testbed/job <$input >/dev/ttyS1 2>&1
echo $? >/root/run/testbed/status
off
