"""What the reference stack adds to a node: the guest, libvirt's settings, room for containers.

The files go into the node's image; `warm_up` runs once on the booted node before that is
saved, so that no launcher pays for what is the same every time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources

from clusters.embedded import container_scripts, oci
from clusters.reference.launcher.domain_xml import GuestSettings
from clusters.reference.machine import ContainerSpec, Program
from clusters.reference.node_layout import (
    BUNDLES,
    EVENTS,
    GUEST,
    HUGEPAGES_PER_NODE,
    PROGRAMS,
    ROOT,
    STARTED,
    STATE,
)
from clusters.virtual_node import guest_memory
from clusters.virtual_node.boot import Preparation
from clusters.virtual_node.image import GUEST_KERNEL
from clusters.virtual_node.machine import Machine
from clusters.virtual_node.shell import Shell

_SKIPPED = (
    # What a guest of a few minutes that only reports its CPUs does not miss. ACPI's tables tell
    # the CPUs and the NUMA nodes; its interpreter and the devices that it finds are not needed.
    *("acpi_init", "pnpacpi_init", "hpet_init", "hpet_late_init", "i8042_init", "cmos_init"),
    *("vga_arb_device_init", "nvme_core_init", "amd_uncore_init", "dma_atomic_pool_init"),
    *("init_kprobe_trace", "audit_init", "slab_sysfs_init", "bpf_rstat_kfunc_init"),
    *("inet6_init", "cubictcp_register", "load_system_certificate_list", "init_encrypted"),
    *("crypto_algapi_init", "crypto_kdf108_init", "fsverity_init", "fscrypt_init"),
    # These patch running code, for which all CPUs of the guest are stopped.
    *("blake2s_mod_init", "crc_t10dif_mod_init", "crc64_rocksoft_mod_init"),
)
GUEST_ARGUMENTS = (
    # Each character on the console is an exit to QEMU; the report is the only text.
    "console=ttyS0 quiet loglevel=0 "
    # Nothing is measured that is known.
    "lpj=4000000 tsc=reliable no_timer_check random.trust_cpu=on cryptomgr.notests "
    "mitigations=off nowatchdog rodata=off pci=off panic=-1 "
    f"initcall_blacklist={','.join(_SKIPPED)}"
)

_QEMU_CONF = b"""\
# As in a launcher: the container is the isolation, and its cgroup is not libvirt's to change.
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
seccomp_sandbox = 0
"""
_DAEMON_CONF = b"""\
auth_unix_ro = "none"
auth_unix_rw = "none"
min_workers = 2
max_workers = 5
prio_workers = 1
admin_min_workers = 1
admin_max_workers = 1
"""
_LAUNCHER = b"""\
#!/bin/sh
# First process of a launcher: libvirt's daemon, and the reaping of what that leaves behind.
trap 'exit 0' TERM
mkdir -p /run/libvirt
if [ -x /usr/sbin/virtqemud ]; then
    virtqemud &
else
    ln -s libvirt-sock /run/libvirt/virtqemud-sock
    libvirtd &
fi
daemon=$!
while kill -0 $daemon 2>/dev/null; do wait $daemon; done
"""
_SLEEP = b"""\
#!/bin/sh
# Stays until SIGTERM, which the first process of a container only gets when it asks for it.
trap 'kill $!; exit 0' TERM
while :; do sleep 2000000000 & wait $!; done
"""
_STARTED = b"""\
#!/bin/sh
# Hook of the runtime, in the bundle $1; the container's state comes as JSON on stdin.
while IFS= read -r line || [ -n "$line" ]; do state=$state$line; done
pid=${state#*\\"pid\\"}
pid=${pid#"${pid%%[0-9]*}"}
echo "${pid%%[!0-9]*}" >"$1/pid"
# Opened for both, so that it never waits for somebody who reads.
echo started 1<>"$1/started"
"""


def extra_files() -> Mapping[str, bytes]:
    """Contents by path, for `clusters.virtual_node.image.build`."""
    guest = resources.files("clusters.guest_images.guest")
    return {
        f"{GUEST}/init.sh": guest.joinpath("init.sh").read_bytes(),
        f"{GUEST}/report.awk": guest.joinpath("report.awk").read_bytes(),
        "/etc/libvirt/qemu.conf": _QEMU_CONF,
        "/etc/libvirt/libvirtd.conf": _DAEMON_CONF,
        "/etc/libvirt/virtqemud.conf": _DAEMON_CONF,
        f"{PROGRAMS}/launcher": _LAUNCHER,
        f"{PROGRAMS}/sleep": _SLEEP,
        STARTED: _STARTED,
    }


_PREPARE = f"""
set -e
{guest_memory.script(HUGEPAGES_PER_NODE)}
# A directory where base-files has brought it and its script has not run, as on Debian 13.
rm -rf /var/run
ln -s /run /var/run
mkdir -p /var/lib/kubelet /var/lib/libvirt /var/log/libvirt /var/cache/libvirt

# The guest. The same bytes each time: fixed times, owners and order.
work={STATE}/guest
mkdir -p $work/bin $work/dev $work/sys
cp /usr/bin/busybox $work/bin/busybox
ln -s busybox $work/bin/sh
cp {GUEST}/report.awk $work
cp {GUEST}/init.sh $work/init
chmod 755 $work/init
mknod $work/dev/console c 5 1
cd $work
find . | sort >../guest.list
xargs touch -h -d @0 <../guest.list
cpio -o -H newc -R 0:0 <../guest.list >{GUEST}/initrd 2>/dev/null
cd /
rm -rf $work {STATE}/guest.list
ln -sf {GUEST_KERNEL} {GUEST}/vmlinux

# A launcher's libvirt knows QEMU and nothing else; each driver left costs it a second.
for driver in /usr/lib/*/libvirt/connection-driver/*.so; do
    case $driver in */libvirt_driver_qemu.so) ;; *) rm "$driver" ;; esac
done

mkdir -p {ROOT} {BUNDLES}
mkfifo {EVENTS}
mount --bind / {ROOT}
mount -o remount,bind,ro {ROOT}
"""

_WARM_DOMAIN = f"""\
<domain type='kvm'>
  <name>warm-up</name>
  <memory unit='MiB'>96</memory>
  <vcpu>2</vcpu>
  <iothreads>1</iothreads>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{GUEST}/vmlinux</kernel>
    <initrd>{GUEST}/initrd</initrd>
    <cmdline>{GUEST_ARGUMENTS}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='host-passthrough'/>
  <devices>
    <serial type='file'><source path='/run/console'/></serial>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""


_WARM_CONTAINER = ContainerSpec(
    id="0" * 64,
    name="warm-up",
    pod_uid="warm-up",
    cgroup="/warm-up",
    program=Program.LAUNCHER,
)
_WARM_GUEST = """\
cat >/run/warm-up.xml
virsh create /run/warm-up.xml || exit
until grep -q CPU-CONFORMANCE-GUEST /run/console; do usleep 200000; done
virsh destroy warm-up
"""
WARM_UP_SECONDS = 180.0

# What libvirt has on file of QEMU, less what no launcher needs. With the flag it would ask
# each new QEMU for 400 properties of its CPU one by one, which takes longer than all the rest;
# without it asks for the two that say the same. The rest is only long to read.
_SHORTEN_CAPABILITIES = r"""
sed -i -e "/<flag name='cpu-unavailable-features'/d" -e '/<blocker /d' \
    -e "/<machine type='tcg'/d" -e "/<hostCPU type='tcg'/,/<.hostCPU>/d" \
    -e "/<cpu type='tcg'.*[^/]>$/,/<.cpu>/d" -e "/<cpu type='tcg'/d" \
    /var/cache/libvirt/qemu/capabilities/*.xml
"""


def preparation() -> Preparation:
    """The preparation of a node that is to be saved, for `clusters.virtual_node.boot.boot`."""
    parts = (_PREPARE, _WARM_DOMAIN, _WARM_GUEST, _SHORTEN_CAPABILITIES, repr(extra_files()))
    key = hashlib.sha256("".join(parts).encode()).hexdigest()[:16]
    return Preparation(key, _prepare)


def warm_up(shell: Shell) -> None:
    """Makes the guest and the containers' root, then runs one guest in one launcher.

    After that libvirt has on file what its QEMU can do, and all programs and the guest's
    kernel are in the page cache. Nothing is left running.

    Raises:
        clusters.contract.access.AccessError: a step failed; the message has what it said.
    """
    shell.run(_PREPARE)
    spec = _WARM_CONTAINER
    config = oci.config(spec, container_scripts.directory_of(spec.id))
    shell.run(container_scripts.start(spec), stdin=config.encode())
    shell.run(container_scripts.await_libvirt(spec.id), timeout_seconds=WARM_UP_SECONDS)
    shell.run(
        container_scripts.execute(spec.id, ["sh", "-c", _WARM_GUEST]),
        stdin=_WARM_DOMAIN.encode(),
        timeout_seconds=WARM_UP_SECONDS,
    )
    shell.run(container_scripts.stop(spec.id, 0))
    shell.run(_SHORTEN_CAPABILITIES)


def guest_settings(shell: Shell) -> GuestSettings:
    """How guests are booted on this node.

    A guest on AMD sees its threads by TOPOEXT alone, which QEMU never switches on by itself.
    """
    cpu_info = shell.read(["/proc/cpuinfo"]).files["/proc/cpuinfo"]
    features = ("topoext",) if " topoext " in f"{cpu_info} " else ()
    return GuestSettings(
        kernel=f"{GUEST}/vmlinux",
        initrd=f"{GUEST}/initrd",
        arguments=GUEST_ARGUMENTS,
        machine="pc",
        cpu_features=features,
    )


def _prepare(machine: Machine) -> None:
    warm_up(machine.shell)
