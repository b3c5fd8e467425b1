"""A recording of a cluster that keeps every promise, to be broken on purpose.

Its values are those of a released KubeVirt on a node of 2 sockets x 3 cores x 2 threads with
CPUs 0-1 reserved: a VMI of one core with two threads, an isolated emulator thread, IOThreads
by policy auto, a hook sidecar and a containerDisk. Beside it run another dedicated VMI and
the DaemonSet that looks after the node.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from conformance.matrix.oracle import expect
from conformance.model.evidence import Former, RawDomain, RawSnapshot
from conformance.parsing.setting import setting

CGROUPS = "/sys/fs/cgroup"
NODE = "node-1"
UID = "0a1b2c3d-1111-4222-8333-444455556666"
OTHER_UID = "9f8e7d6c-aaaa-4bbb-8ccc-ddddeeeeffff"
HANDLER_UID = "77777777-1234-4234-8234-123412341234"
NUMA_MAPS = "/proc/150/numa_maps"
PIT = 160
"""The kernel thread that is the timer of the guest."""
RT_RUNTIME = "/proc/sys/kernel/sched_rt_runtime_us"
CHECKPOINT = "/var/lib/kubelet/cpu_manager_state"
CONFIGZ = f"/api/v1/nodes/{NODE}/proxy/configz"
POOL = "0-1,5,8-11"
SOURCE = "libvirt-python qemu+unix:///session"

COMPUTE, HOOK, LOG = "c" * 64, "d" * 64, "e" * 64
DISK, OTHER, HANDLER = "f" * 64, "a" * 64, "b" * 64
POD_SLICE = f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice"
ROOT = f"{POD_SLICE}/cri-containerd-{COMPUTE}.scope"
HOUSEKEEPING = f"{ROOT}/housekeeping"
HOOK_CGROUP = f"{POD_SLICE}/cri-containerd-{HOOK}.scope"
LOG_CGROUP = f"{POD_SLICE}/cri-containerd-{LOG}.scope"
OTHER_CGROUP = (
    f"/kubepods.slice/kubepods-pod{OTHER_UID.replace('-', '_')}.slice/cri-containerd-{OTHER}.scope"
)
HANDLER_CGROUP = (
    "/kubepods.slice/kubepods-burstable.slice/"
    f"kubepods-burstable-pod{HANDLER_UID.replace('-', '_')}.slice/cri-containerd-{HANDLER}.scope"
)

MANIFEST: dict[str, Any] = {
    "apiVersion": "kubevirt.io/v1",
    "kind": "VirtualMachineInstance",
    "metadata": {
        "name": "demo",
        "annotations": {"hooks.kubevirt.io/hookSidecars": '[{"image": "hook"}]'},
    },
    "spec": {
        "domain": {
            "cpu": {
                "sockets": 1,
                "cores": 1,
                "threads": 2,
                "dedicatedCpuPlacement": True,
                "isolateEmulatorThread": True,
            },
            "ioThreadsPolicy": "auto",
            "devices": {"disks": [{"name": "root", "disk": {"bus": "virtio"}}]},
            "resources": {"limits": {"memory": "192Mi"}},
        },
        "volumes": [{"name": "root", "containerDisk": {"image": "disk"}}],
    },
}
REFUSED: dict[str, Any] = {
    "apiVersion": "kubevirt.io/v1",
    "kind": "VirtualMachineInstance",
    "metadata": {"name": "refused"},
    "spec": {
        "domain": {
            "cpu": {"sockets": 1, "isolateEmulatorThread": True},
            "devices": {},
            "resources": {"limits": {"memory": "192Mi"}},
        }
    },
}
RECORDED_SETTING: dict[str, Any] = {
    "kubernetes": {"gitVersion": "v1.36.2"},
    "kubevirt": {
        "metadata": {"namespace": "kubevirt", "name": "kubevirt", "annotations": {}},
        "spec": {
            "configuration": {
                "developerConfiguration": {"featureGates": ["CPUManager", "NUMA", "Sidecar"]}
            }
        },
        "status": {"observedKubeVirtVersion": "v1.9.0"},
    },
    "served": {"versions": [{"version": "v1"}, {"version": "v1alpha3"}]},
    "nodes": {NODE: {"kubeletVersion": "v1.36.2", "containerRuntimeVersion": "containerd://2.1.4"}},
    "unread": {},
}
SETTING = setting(RECORDED_SETTING)
EXPECTATION = expect(MANIFEST, "v1", SETTING)
EXPECTED_REFUSAL = expect(REFUSED, "v1", SETTING)


def running() -> RawSnapshot:
    """While the VMI runs."""
    pod = launcher()
    return RawSnapshot(
        case="demo",
        scenario="vmi",
        moment="running",
        began="2026-08-01T10:00:00.000Z",
        ended="2026-08-01T10:00:00.400Z",
        manifest=MANIFEST,
        vmi={
            "metadata": {"namespace": "ns", "name": "demo", "uid": "vmi-uid"},
            "status": {
                "phase": "Running",
                "nodeName": NODE,
                "qosClass": "Guaranteed",
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        },
        pod=pod,
        node=node(),
        pods=(pod, other_pod(), handler_pod()),
        hardware=hardware(),
        files={**node_files(), **host_files(), **guest_files()},
        domain=domain(),
        console=f"[    0.1] booting\r\n{guest_line(guest())}\r\n[    9.1] late message\r\n",
    )


def whole_cores_only(raw: RawSnapshot) -> RawSnapshot:
    """The same on a node whose kubelet has the option full-pcpus-only."""
    config = json.loads(raw.files[CONFIGZ])
    config["kubeletconfig"]["cpuManagerPolicyOptions"] = {"full-pcpus-only": "true"}
    return replace(raw, files={**raw.files, CONFIGZ: json.dumps(config)})


def under(policy: str) -> RawSnapshot:
    """It runs on a node whose topology manager has a policy."""
    raw = running()
    config = json.loads(raw.files[CONFIGZ])
    config["kubeletconfig"]["topologyManagerPolicy"] = policy
    return replace(raw, files={**raw.files, CONFIGZ: json.dumps(config)})


def turned_away() -> RawSnapshot:
    """There, its three CPUs are a core and a half, and the node rejects them."""
    raw = whole_cores_only(running())
    pod = launcher()
    pod["status"] |= {"phase": "Failed", "reason": "SMTAlignmentError", "message": "rejected"}
    vmi = {**(raw.vmi or {}), "status": {"phase": "Failed", "nodeName": NODE}}
    return replace(raw, vmi=vmi, pod=pod, pods=(pod, *raw.pods[1:]), domain=None, console=None)


def deleted() -> RawSnapshot:
    """After the VMI was deleted."""
    files = {path: text for path, text in node_files().items() if POD_SLICE not in path}
    files = {path: text for path, text in files.items() if not path.startswith("/proc/1")}
    state = json.loads(files[CHECKPOINT])
    del state["entries"][UID]
    state["defaultCpuSet"] = "0-5,8-11"
    files[CHECKPOINT] = json.dumps(state)
    return RawSnapshot(
        case="demo",
        scenario="vmi",
        moment="deleted",
        began="2026-08-01T10:01:00.000Z",
        ended="2026-08-01T10:01:00.400Z",
        manifest=MANIFEST,
        node=node(),
        pods=(other_pod(), handler_pod()),
        hardware=hardware(),
        files=files,
        former=Former("ns", "virt-launcher-demo-x", UID, (COMPUTE, HOOK, LOG), "2-4"),
        not_observed={"vmi": "it was deleted"},
    )


def refused() -> RawSnapshot:
    """A VMI that the API refused."""
    field = "spec.domain.cpu.isolateEmulatorThread"
    message = "IsolateEmulatorThread should be only set in combination with DedicatedCPUPlacement"
    return RawSnapshot(
        case="refused",
        scenario="vmi",
        moment="refused",
        began="2026-08-01T10:02:00.000Z",
        ended="2026-08-01T10:02:00.100Z",
        manifest=REFUSED,
        rejection={
            "kind": "Status",
            "status": "Failure",
            "code": 422,
            "reason": "Invalid",
            "message": 'admission webhook "virtualmachineinstances-create-validator.kubevirt.io" '
            f"denied the request: {message}",
            "details": {
                "causes": [{"reason": "FieldValueInvalid", "field": field, "message": message}]
            },
        },
    )


def node() -> dict[str, Any]:
    return {
        "metadata": {
            "name": NODE,
            "labels": {
                "kubevirt.io/cpumanager": "true",
                "cpumanager": "true",
                "kubevirt.io/realtime": "true",
            },
        },
        "status": {
            "allocatable": {"cpu": "10", "memory": "2Gi"},
            "nodeInfo": {"kubeletVersion": "v1.36.2"},
        },
    }


def container(name: str, cpu: str, memory: str, **more: Any) -> dict[str, Any]:
    amount = {"cpu": cpu, "memory": memory}
    return {
        "name": name,
        "image": name,
        "resources": {"requests": dict(amount), "limits": dict(amount)},
        **more,
    }


def state(name: str, id: str, *, running: bool = True) -> dict[str, Any]:
    doing = {"running": {}} if running else {"terminated": {"exitCode": 0}}
    return {"name": name, "containerID": f"containerd://{id}", "restartCount": 0, "state": doing}


def launcher() -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ns", "name": "virt-launcher-demo-x", "uid": UID},
        "spec": {
            "nodeName": NODE,
            "nodeSelector": {"kubevirt.io/cpumanager": "true", "kubevirt.io/schedulable": "true"},
            "initContainers": [
                container("guest-console-log", "15m", "60M", restartPolicy="Always"),
                container("volumeroot", "10m", "40M"),
            ],
            "containers": [
                container("compute", "3", "556Mi"),
                container("hook-sidecar-0", "200m", "64M"),
            ],
        },
        "status": {
            "phase": "Running",
            "qosClass": "Guaranteed",
            "initContainerStatuses": [
                state("guest-console-log", LOG),
                state("volumeroot", DISK, running=False),
            ],
            "containerStatuses": [state("compute", COMPUTE), state("hook-sidecar-0", HOOK)],
        },
    }


def other_pod() -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ns", "name": "virt-launcher-other-y", "uid": OTHER_UID},
        "spec": {"nodeName": NODE, "containers": [container("compute", "2", "500Mi")]},
        "status": {
            "phase": "Running",
            "qosClass": "Guaranteed",
            "containerStatuses": [state("compute", OTHER)],
        },
    }


def handler_pod() -> dict[str, Any]:
    return {
        "metadata": {"namespace": "kubevirt", "name": "virt-handler-z", "uid": HANDLER_UID},
        "spec": {
            "nodeName": NODE,
            "containers": [{"name": "virt-handler", "resources": {"requests": {"cpu": "10m"}}}],
        },
        "status": {
            "phase": "Running",
            "qosClass": "Burstable",
            "containerStatuses": [state("virt-handler", HANDLER)],
        },
    }


def hardware() -> dict[str, str]:
    """Of a node with 2 sockets x 3 cores x 2 threads and 2 NUMA nodes."""
    cpus = "/sys/devices/system/cpu"
    files = {f"{cpus}/online": "0-11\n"}
    for cpu in range(12):
        first = cpu // 2 * 2
        files |= {
            f"{cpus}/cpu{cpu}/topology/core_id": f"{cpu // 2 % 3}\n",
            f"{cpus}/cpu{cpu}/topology/physical_package_id": f"{cpu // 6}\n",
            f"{cpus}/cpu{cpu}/topology/thread_siblings_list": f"{first}-{first + 1}\n",
        }
    nodes = "/sys/devices/system/node"
    return {**files, f"{nodes}/node0/cpulist": "0-5\n", f"{nodes}/node1/cpulist": "6-11\n"}


def node_files() -> dict[str, str]:
    """The kubelet's files, the cgroups, the threads."""
    state = {
        "policyName": "static",
        "defaultCpuSet": POOL,
        "entries": {UID: {"compute": "2-4"}, OTHER_UID: {"compute": "6-7"}},
        "checksum": 0,
    }
    config = {
        "kubeletconfig": {
            "cpuManagerPolicy": "static",
            "reservedSystemCPUs": "0-1",
            "topologyManagerPolicy": "none",
        }
    }
    files = {
        CHECKPOINT: json.dumps(state),
        CONFIGZ: json.dumps(config),
        f"{CGROUPS}/kubepods.slice/cpuset.cpus.effective": "0-11\n",
        f"{CGROUPS}/kubepods.slice/cpu.max": "max 100000\n",
        f"{CGROUPS}{POD_SLICE}/cpu.max": "max 100000\n",
    }
    launcher_tids = [100, 101, 120, 121, 150, 151, 152, 153, 156]
    groups = {
        ROOT: ("2-4", [154, 155, 170], "max 100000"),
        HOUSEKEEPING: ("4", launcher_tids, "max 100000"),
        HOOK_CGROUP: (POOL, [200], "20000 100000"),
        LOG_CGROUP: (POOL, [210], "1500 100000"),
        OTHER_CGROUP: ("6-7", [300], "max 100000"),
        HANDLER_CGROUP: (POOL, [400], "max 100000"),
    }
    for path, (cpus, tids, quota) in groups.items():
        files |= {
            f"{CGROUPS}{path}/cpuset.cpus": cpus + "\n",
            f"{CGROUPS}{path}/cpuset.cpus.effective": cpus + "\n",
            f"{CGROUPS}{path}/cpu.max": quota + "\n",
            f"{CGROUPS}{path}/cgroup.threads": "".join(f"{tid}\n" for tid in tids),
        }
    threads = [
        (100, 100, "virt-launcher-m", "4", 99, 1),
        (101, 101, "virt-launcher", "4", 100, 12),
        (120, 120, "virtqemud", "4", 101, 20),
        (121, 121, "virtlogd", "4", 101, 21),
        (150, 150, "qemu-system-x86", "4", 100, 80),
        (150, 151, "call_rcu", "4", 100, 81),
        (150, 152, "IO mon_iothread", "4", 100, 82),
        (150, 153, "IO iothread1", "4", 100, 83),
        (150, 154, "CPU 0/KVM", "2", 100, 84),
        (150, 155, "CPU 1/KVM", "3", 100, 85),
        (156, 156, "kvm-nx-lpage-re", "4", 2, 156),
        # An observer: somebody's exec into the container.
        (170, 170, "cat", "2-4", 99, 90),
        (200, 200, "hook", POOL, 98, 1),
        (210, 210, "virt-tail", POOL, 97, 1),
        (300, 300, "virt-launcher-m", "6-7", 96, 1),
        (400, 400, "virt-handler", POOL, 95, 1),
    ]
    for pid, tid, name, cpus, parent, inner in threads:
        files[status_path(pid, tid)] = (
            f"Name:\t{name}\nTgid:\t{pid}\nPid:\t{tid}\nPPid:\t{parent}\n"
            f"NSpid:\t{tid}\t{inner}\nCpus_allowed_list:\t{cpus}\n"
        )
    files[RT_RUNTIME] = "-1\n"
    return files


def host_files() -> dict[str, str]:
    """The node's first process, which shows that it was looked at, and the timer of the guest."""
    files = {}
    for pid, name, cpus, parent, cgroup in (
        (1, "systemd", "0-11", 0, "/init.scope"),
        (PIT, "kvm-pit/80", "2", 2, "/"),
    ):
        files[f"/proc/{pid}/status"] = (
            f"Name:\t{name}\nTgid:\t{pid}\nPid:\t{pid}\nPPid:\t{parent}\nNSpid:\t{pid}\n"
            f"Cpus_allowed_list:\t{cpus}\n"
        )
        files[f"/proc/{pid}/cgroup"] = f"0::{cgroup}\n"
    return files


def guest_files() -> dict[str, str]:
    """Of QEMU: how its threads are scheduled, vCPU 0 in real time, and where its memory is."""
    zeros = " ".join(["0"] * 34)
    return {
        NUMA_MAPS: (
            "7f00 default anon=3 dirty=3 N0=3 kernelpagesize_kB=4\n"
            "7f01 bind:0 file=/memfd:ram huge dirty=96 N0=96 kernelpagesize_kB=2048\n"
        ),
        **{
            stat_path(tid): f"{tid} (CPU 0/KVM) S 100 {zeros} 2 {fifo} {fifo} 0 0 0 0 0\n"
            for tid in range(150, 156)
            for fifo in (int(tid == 154),)
        },
    }


def stat_path(tid: int) -> str:
    return f"/proc/{tid}/stat"


def status_path(pid: int, tid: int) -> str:
    return f"/proc/{pid}/task/{tid}/status"


def domain() -> RawDomain:
    return RawDomain(
        xml=xml(vcpus={0: "2", 1: "3"}, emulator="4"),
        vcpu_pins={"0": "2", "1": "3"},
        emulator_pin="4",
        iothread_pins={"1": "4"},
        source=SOURCE,
    )


def xml(*, vcpus: dict[int, str], emulator: str) -> str:
    pins = "".join(f"<vcpupin vcpu='{vcpu}' cpuset='{cpus}'/>" for vcpu, cpus in vcpus.items())
    return (
        "<domain type='kvm' id='1'><name>ns_demo</name>"
        "<vcpu placement='static' current='2'>8</vcpu>"
        "<vcpus>"
        + "".join(
            f"<vcpu id='{n}' enabled='{'yes' if n < 2 else 'no'}' hotpluggable='yes'/>"
            for n in range(8)
        )
        + "</vcpus><iothreads>1</iothreads>"
        f"<cputune>{pins}<emulatorpin cpuset='{emulator}'/>"
        "<iothreadpin iothread='1' cpuset='4'/></cputune>"
        "<os><type arch='x86_64' machine='pc-q35'>hvm</type></os>"
        "<features><acpi/><kvm><hint-dedicated state='on'/></kvm></features>"
        "<cpu mode='host-model'><topology sockets='4' dies='1' cores='1' threads='2'/>"
        "<numa><cell id='0' cpus='0-1' memory='196608' unit='KiB'/></numa></cpu>"
        "<numatune><memory mode='strict' nodeset='0'/>"
        "<memnode cellid='0' mode='strict' nodeset='0'/></numatune>"
        "<devices><disk type='file' device='disk'><driver name='qemu' iothread='1'/>"
        "<target dev='vda' bus='virtio'/><alias name='ua-root'/></disk>"
        "<disk type='file' device='disk'><driver name='qemu'/>"
        "<target dev='vdb' bus='virtio'/><alias name='ua-other'/></disk></devices>"
        "</domain>"
    )


def guest() -> dict[str, Any]:
    return {
        "sockets": 1,
        "cores_per_socket": 1,
        "threads_per_core": 2,
        "online": "0-1",
        "cpus": [
            {"cpu": cpu, "socket": 0, "core": 0, "siblings": "0-1", "node": 0} for cpu in range(2)
        ],
        "nodes": {"0": "0-1"},
    }


def guest_line(report: dict[str, Any]) -> str:
    return f"CPU-CONFORMANCE-GUEST {json.dumps(report)}"
