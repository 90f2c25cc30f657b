// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//
// The other side of the example `throughput`: the same pictures through libvncserver. It is built
// and linked with that library, which is under the GPL, only where the benchmark runs.
//
// Reads a file of frames (see examples/throughput/frames.rs), prints its port, and shows the next
// frame for each byte on its standard input.

#include <arpa/inet.h>
#include <fcntl.h>
#include <rfb/rfb.h>
#include <rfb/rfbregion.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECTS 16

struct damage {
    uint32_t count;
    uint32_t rects[RECTS][4];
};

int main(int argc, char **argv)
{
    int fd = argc == 2 ? open(argv[1], O_RDONLY) : -1;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return 1;
    const uint8_t *file = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (file == MAP_FAILED)
        return 1;
    const uint32_t *head = (const uint32_t *)file;
    const uint32_t width = head[0], height = head[1], frames = head[2];
    const struct damage *damage = (const struct damage *)(head + 4);
    const uint8_t *pixels = (const uint8_t *)(damage + frames);
    const size_t stride = (size_t)width * 4, size = stride * height;

    int none = 1;
    rfbScreenInfoPtr screen = rfbGetScreen(&none, NULL, width, height, 8, 3, 4);
    screen->frameBuffer = malloc(size);
    memcpy(screen->frameBuffer, pixels, size);
    // XRGB8888, as the other server has it, so that neither converts.
    screen->serverFormat.redShift = 16;
    screen->serverFormat.greenShift = 8;
    screen->serverFormat.blueShift = 0;
    screen->listenInterface = htonl(INADDR_LOOPBACK);
    screen->ipv6port = 0;
    screen->autoPort = TRUE;
    screen->httpDir = NULL;
    screen->alwaysShared = TRUE;
    screen->cursor = NULL;
    // An update at once, and not 5 ms later.
    screen->deferUpdateTime = 0;
    rfbLogEnable(FALSE);
    rfbInitServer(screen);
    rfbRunEventLoop(screen, -1, TRUE);
    printf("%d\n", screen->port);
    fflush(stdout);

    char step;
    for (uint32_t n = 1; read(STDIN_FILENO, &step, 1) == 1; n++) {
        const uint32_t frame = n % frames;
        const uint8_t *from = pixels + size * frame;
        sraRegionPtr region = sraRgnCreate();
        for (uint32_t i = 0; i < damage[frame].count; i++) {
            const uint32_t *r = damage[frame].rects[i];
            for (uint32_t y = r[1]; y < r[1] + r[3]; y++)
                memcpy(screen->frameBuffer + y * stride + r[0] * 4,
                       from + y * stride + r[0] * 4, (size_t)r[2] * 4);
            sraRegionPtr one = sraRgnCreateRect(r[0], r[1], r[0] + r[2], r[1] + r[3]);
            sraRgnOr(region, one);
            sraRgnDestroy(one);
        }
        rfbMarkRegionAsModified(screen, region);
        sraRgnDestroy(region);
    }
    _exit(0);
}
