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
# QEMU before 8.1 may go on running an instruction that the kernel has replaced while CPUs were
# at it, and then they never leave it (qemu commit deba78709). The kernel replaces code when the
# first of something comes and the last of it goes, in its scheduler too. So the first of each
# comes here, and stays: a cgroup with a CPU quota, a virtual machine, a CPU of it.
mkdir /sys/fs/cgroup/system.slice
echo "1000000 1000000" >/sys/fs/cgroup/system.slice/cpu.max
# Polling for a wake-up that does not come only takes time from the other CPUs.
modprobe kvm halt_poll_ns=0
modprobe kvm_amd || modprobe kvm_intel
perl -e '
    open my $kvm, "+<", "/dev/kvm" or exit;
    my $vm = ioctl $kvm, 0xAE01, 0;          # KVM_CREATE_VM
    open my $machine, "+<&=", $vm;
    ioctl $machine, 0xAE60, 0;               # KVM_CREATE_IRQCHIP
    my $cpu = ioctl $machine, 0xAE41, 0;     # KVM_CREATE_VCPU
    sleep;' &
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
