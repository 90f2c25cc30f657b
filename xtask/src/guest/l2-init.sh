#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# PID 1 of L2, the guest that draws: it runs in a VMM inside L1, with an mbochs device as its
# graphics card. What it writes to /dev/tty1 is on the screen, and it says through the 9p share
# `share` what its own /dev/fb0 reads, for a test in L1 to compare:
#
#   fb0-N, fb0-N.info, then ready-N   the framebuffer, its geometry, and "both are complete"
#   go-N (N = 2, 3, …)                from the test: run it as a shell script, then write fb0-N
#   out-N                             what that script printed
#   stop                              from the test: power off

/bin/busybox mkdir -p /proc /sys /dev /share
/bin/busybox --install -s /bin
export PATH=/bin

say() { echo "guest: $*" >/dev/ttyS0; }

off() {
    sync
    echo o >/proc/sysrq-trigger
    while :; do sleep 1; done
}

die() {
    say "cannot go on: $*"
    off
}

# A file appears under its own name only when it is complete.
publish() {
    cat >"/share/.$1" && mv "/share/.$1" "/share/$1" || say "$1 could not be written"
}

capture() {
    for part in virtual_size stride bits_per_pixel; do
        echo "$part=$(cat /sys/class/graphics/fb0/$part)"
    done | publish "fb0-$1.info"
    publish "fb0-$1" </dev/fb0
    publish "ready-$1" </dev/null
    say "ready-$1"
}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
echo 1 >/proc/sys/kernel/sysrq

while read -r module; do
    insmod "/modules/$module" || say "insmod $module: exit status $?"
done </modules/order

mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=none share /share ||
    die "no 9p share with the tag 'share'"

tries=0
until [ -e /dev/fb0 ]; do
    tries=$((tries + 1))
    [ $tries -le 300 ] || die "no /dev/fb0 after 30 s"
    sleep 0.1
done

# No cursor, no blanking: nothing on the screen changes by itself.
printf '\033[?25l\033[9;0]\033[14;0]\033[2J\033[H' >/dev/tty1
echo "vfio-display testbed: hello from the guest" >/dev/tty1
sleep 0.5
capture 1

n=2
while :; do
    if [ -e /share/stop ]; then
        say "stop"
        off
    elif [ -e "/share/go-$n" ]; then
        sh "/share/go-$n" >/output 2>&1
        publish "out-$n" </output
        sleep 0.5
        [ -e /dev/fb0 ] && capture $n || publish "ready-$n" </dev/null
        n=$((n + 1))
    else
        sleep 0.1
    fi
done
