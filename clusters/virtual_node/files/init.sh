#!/usr/bin/busybox sh
# First process of the node: mounts, cgroups, KVM, network, sshd. Nothing polls, nothing else runs.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mkdir -p /run/sshd /run/lock
ln -s /proc/self/fd /dev/fd
# A mount is private to its namespace unless it is shared: containers see what comes later.
mount --make-rshared /
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done
# Polling for a wake-up that does not come only takes time from the other CPUs.
modprobe kvm halt_poll_ns=0
modprobe kvm_amd || modprobe kvm_intel
ip link set lo up
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
/usr/sbin/sshd
# It goes into the background before it listens, and writes this file after.
until [ -s /run/sshd.pid ]; do sleep 0.02; done
read -r uptime _ </proc/uptime
echo "virtual node ready after $uptime s" >/dev/console
# Orphans become children of this process; the shell reaps them while it waits.
while :; do sleep 2000000000 & wait $!; done
