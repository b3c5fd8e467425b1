"""What is done to a good recording, and which requirement has to notice.

One module for all checks: a check without a mutation that breaks it and one that blinds it
is a check that nobody has seen fail.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from conformance.model.evidence import RawSnapshot
from conformance.model.expectation import Expectation
from tests.selfproof import recording as good

Change = Callable[[RawSnapshot], RawSnapshot]


@dataclass(frozen=True)
class Base:
    """A good recording with what is expected of it."""

    record: Callable[[], RawSnapshot]
    expectation: Expectation


RUNNING = Base(good.running, good.EXPECTATION)
DELETED = Base(good.deleted, good.EXPECTATION)
REFUSED = Base(good.refused, good.EXPECTED_REFUSAL)
TURNED_AWAY = Base(good.turned_away, good.EXPECTATION)
_UNISOLATED = replace(good.EXPECTATION, isolate_emulator=False, emulator_cpus=0)
POOLED = Base(
    good.running,
    replace(
        _UNISOLATED, iothreads_policy="supplementalPool", supplemental_iothreads=1, iothreads=1
    ),
)
SHARED = Base(
    good.running,
    replace(_UNISOLATED, iothreads_policy="shared", own_iothreads=("root",)),
)
GROWABLE = Base(good.running, replace(good.EXPECTATION, max_vcpus=8))
NEAR = Base(lambda: good.under("single-numa-node"), good.EXPECTATION)
MIRRORED = Base(
    good.running,
    replace(good.EXPECTATION, numa_passthrough=True, page=2 * 2**20, realtime=frozenset({0})),
)


@dataclass(frozen=True)
class Mutation:
    """One way to break or to blind a requirement.

    Attributes:
        says: what the message of the finding must contain.
        also: requirements that fail too, because the same promise is in them.
    """

    name: str
    change: Change
    says: tuple[str, ...]
    also: frozenset[str] = frozenset()
    base: Base = RUNNING


@dataclass(frozen=True)
class Proof:
    """What shows that a check works."""

    breaks: tuple[Mutation, ...]
    blinds: tuple[Mutation, ...]


# How to change a recording


def files(changes: Mapping[str, str]) -> Change:
    """Replaces texts of node files; each must be there."""

    def change(raw: RawSnapshot) -> RawSnapshot:
        assert set(changes) <= set(raw.files), sorted(set(changes) - set(raw.files))
        return replace(raw, files={**raw.files, **changes})

    return change


def without(*parts: str) -> Change:
    """Drops the node files whose path contains one of these."""

    def change(raw: RawSnapshot) -> RawSnapshot:
        kept = {p: t for p, t in raw.files.items() if not any(part in p for part in parts)}
        assert len(kept) < len(raw.files)
        return replace(raw, files=kept)

    return change


def pod(edit: Callable[[Any], object]) -> Change:
    """Edits the launcher pod."""

    def change(raw: RawSnapshot) -> RawSnapshot:
        edited = copy.deepcopy(raw.pod)
        edit(edited)
        others = raw.pods[1:]
        assert edited != raw.pod
        return replace(raw, pod=edited, pods=(edited, *others) if edited else others)

    return change


def container(kind: str, position: int, **resources: Mapping[str, str]) -> Change:
    """Edits resources of one container of the launcher pod."""

    def edit(obj: Any) -> None:
        obj["spec"][kind][position]["resources"].update(resources)

    return pod(edit)


def set_path(attribute: str, *path: str, value: Any) -> Change:
    """Sets a member of an API object."""

    def change(raw: RawSnapshot) -> RawSnapshot:
        obj = copy.deepcopy(getattr(raw, attribute))
        inner = obj
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        return replace(raw, **{attribute: obj})

    return change


def checkpoint(edit: Callable[[Any], object]) -> Change:
    """Edits the kubelet's checkpoint."""

    def change(raw: RawSnapshot) -> RawSnapshot:
        state = json.loads(raw.files[good.CHECKPOINT])
        edit(state)
        return files({good.CHECKPOINT: json.dumps(state)})(raw)

    return change


def affinity(pid: int, tid: int, cpus: str) -> Change:
    """Moves a thread to other CPUs."""

    def change(raw: RawSnapshot) -> RawSnapshot:
        path = good.status_path(pid, tid)
        head, _tab, _old = raw.files[path].rstrip().rpartition("\t")
        return files({path: f"{head}\t{cpus}\n"})(raw)

    return change


def cpuset(path: str, cpus: str) -> Change:
    """Changes the effective cpuset of a cgroup."""
    return files({f"{good.CGROUPS}{path}/cpuset.cpus.effective": cpus + "\n"})


def members(groups: Mapping[str, tuple[int, ...]]) -> Change:
    """Changes which threads sit in cgroups."""
    return files(
        {
            f"{good.CGROUPS}{path}/cgroup.threads": "".join(f"{tid}\n" for tid in tids)
            for path, tids in groups.items()
        }
    )


def libvirt(**changes: Any) -> Change:
    """Changes libvirt's answers."""

    def change(raw: RawSnapshot) -> RawSnapshot:
        assert raw.domain is not None
        return replace(raw, domain=replace(raw.domain, **changes))

    return change


def timer(cpus: str, pid: int = good.PIT) -> Change:
    """Lets the timer of a guest run elsewhere, or adds another one of the same name."""
    path = f"/proc/{good.PIT}/status"

    def change(raw: RawSnapshot) -> RawSnapshot:
        text = raw.files[path].replace("Cpus_allowed_list:\t2\n", f"Cpus_allowed_list:\t{cpus}\n")
        text = text.replace(f"\t{good.PIT}\n", f"\t{pid}\n")
        return replace(raw, files={**raw.files, f"/proc/{pid}/status": text})

    return change


def another_of_that_number(raw: RawSnapshot) -> RawSnapshot:
    """The other dedicated VMI of the node has a QEMU of the same number, and an unbound timer."""
    added = {}
    for tid, name in ((301, "qemu-system-x86"), (302, "CPU 0/KVM")):
        inner = 80 if tid == 301 else 81
        added[good.status_path(301, tid)] = (
            f"Name:\t{name}\nTgid:\t301\nPid:\t{tid}\nPPid:\t300\n"
            f"NSpid:\t{tid}\t{inner}\nCpus_allowed_list:\t6\n"
        )
    raw = members({good.OTHER_CGROUP: (300, 301, 302)})(raw)
    return timer("0-11", 161)(replace(raw, files={**raw.files, **added}))


def edit_xml(old: str, new: str) -> Change:
    """Replaces a part of the domain XML."""

    def change(raw: RawSnapshot) -> RawSnapshot:
        assert raw.domain is not None
        assert old in raw.domain.xml
        return libvirt(xml=raw.domain.xml.replace(old, new))(raw)

    return change


def console(edit: Callable[[Any], None]) -> Change:
    """Edits the guest's report."""

    def change(raw: RawSnapshot) -> RawSnapshot:
        report = good.guest()
        edit(report)
        return replace(raw, console=good.guest_line(report) + "\n")

    return change


def both(*changes: Change) -> Change:
    """One change after the other."""

    def change(raw: RawSnapshot) -> RawSnapshot:
        for each in changes:
            raw = each(raw)
        return raw

    return change


def lost(layer: str, reason: str, **fields: Any) -> Change:
    """A layer could not be read, for a reason."""

    def change(raw: RawSnapshot) -> RawSnapshot:
        return replace(raw, **fields, not_observed={**raw.not_observed, layer: reason})

    return change


def _drop_label(obj: Any) -> None:
    del obj["spec"]["nodeSelector"]["kubevirt.io/cpumanager"]


def _third_cpu(report: Any) -> None:
    report["cpus"].append({"cpu": 2, "socket": 0, "core": 1, "siblings": "2", "node": 0})
    report |= {"online": "0-2", "nodes": {"0": "0-2"}}


def _two_nodes(report: Any) -> None:
    report["nodes"] = {"0": "0", "1": "1"}
    for cpu in report["cpus"]:
        cpu["node"] = cpu["cpu"]


def _flat(report: Any) -> None:
    report |= {"sockets": 2, "threads_per_core": 1}
    for cpu in report["cpus"]:
        cpu |= {"socket": cpu["cpu"], "siblings": str(cpu["cpu"])}


def _refusal(**changes: Any) -> Change:
    def change(raw: RawSnapshot) -> RawSnapshot:
        assert raw.rejection is not None
        return replace(raw, rejection={**raw.rejection, **changes})

    return change


def _cause(field: str, message: str) -> Change:
    return _refusal(details={"causes": [{"field": field, "message": message}]})


REFUSAL: dict[str, Any] = {
    "kind": "Status",
    "code": 422,
    "reason": "Invalid",
    "message": 'admission webhook "virtualmachineinstances-create-validator.kubevirt.io" denied '
    "the request: no room for threads",
    "details": {"causes": [{"field": "spec.domain.cpu.threads", "message": "no"}]},
}
ISOLATE = "spec.domain.cpu.isolateEmulatorThread"


def _refused_with(**changes: Any) -> Change:
    return lost("pod", "refused", vmi=None, pod=None, pods=(), rejection={**REFUSAL, **changes})


NO_LIBVIRT = lost("domain", "the socket did not answer", domain=None)
NO_CONSOLE = lost("console", "the console is closed", console=None)
NO_VMI = lost("vmi", "the API did not answer", vmi=None)
NO_POD = lost("pod", "the API did not answer", pod=None, pods=())
NO_CHECKPOINT = without("cpu_manager_state")
NO_CGROUPS = without(good.CGROUPS)
NO_THREADS = without("/proc/")
ANSWER = ("the API did not answer",)

_VCPUS, _OTHERS = (154, 155, 170), (100, 101, 120, 121, 150, 151, 152, 153, 156)

_PINNED = "<iothreadpin iothread='1' cpuset='{}'/>"
_CELL = "<cell id='0' cpus='0-1' memory='196608' unit='KiB'/>"
_NODES_OF_FOUR_AND_EIGHT = {
    "/sys/devices/system/node/node0/cpulist": "0-3\n",
    "/sys/devices/system/node/node1/cpulist": "4-11\n",
}
_MEMNODE = "<memnode cellid='0' mode='strict' nodeset='{}'/>"
_WITHOUT_REALTIME = {"kubevirt.io/cpumanager": "true", "cpumanager": "true"}


def _memory(old: str, new: str) -> Change:
    """Another text of QEMU's numa_maps."""

    def change(raw: RawSnapshot) -> RawSnapshot:
        text = raw.files[good.NUMA_MAPS]
        head, last = text.splitlines()
        assert old in last
        return files({good.NUMA_MAPS: f"{head}\n{last.replace(old, new)}\n"})(raw)

    return change


def _scheduled(tid: int, policy: int, priority: int) -> Change:
    zeros = " ".join(["0"] * 34)
    text = f"{tid} (CPU 0/KVM) S 100 {zeros} 2 {priority} {policy} 0 0 0 0 0\n"
    return files({good.stat_path(tid): text})


PROOFS: Mapping[str, Proof] = {
    "ADM-ACCEPT": Proof(
        breaks=(
            Mutation(
                "refused",
                lost("pod", "refused", vmi=None, pod=None, pods=(), rejection=REFUSAL),
                ("refused a consistent VMI with 422", "no room for threads"),
            ),
        ),
        blinds=(
            Mutation("no answer", NO_VMI, ANSWER),
            Mutation(
                "refused by another webhook",
                _refused_with(message=REFUSAL["message"].replace("kubevirt", "kyverno")),
                ("refused by the webhook virtualmachineinstances-create-validator.kyverno.io",),
            ),
            Mutation(
                "refused for a disk",
                _refused_with(
                    details={
                        "causes": [{"field": "spec.domain.devices.disks[0].Name", "message": "no"}]
                    }
                ),
                ("which is the manifest's fault",),
            ),
        ),
    ),
    "ADM-REFUSE": Proof(
        breaks=(
            Mutation(
                "another field",
                _cause("spec.domain.cpu.cores", "too many"),
                (f"no cause of the refusal names {ISOLATE}", "spec.domain.cpu.cores (too many)"),
                base=REFUSED,
            ),
        ),
        blinds=(
            Mutation(
                "another reason altogether",
                _refusal(code=403, reason="Forbidden", message='"vm" is forbidden: exceeded quota'),
                ("403", "exceeded quota"),
                base=REFUSED,
            ),
            Mutation(
                "a field that no rule is about",
                _cause("spec.domain.devices.disks[0].Name", "not found"),
                (f"refused for something else than {ISOLATE}",),
                base=REFUSED,
            ),
            Mutation(
                "no answer",
                lost("vmi", "the API did not answer", rejection=None),
                ANSWER,
                base=REFUSED,
            ),
        ),
    ),
    "RUN-STARTED": Proof(
        breaks=(
            Mutation(
                "failed",
                set_path("vmi", "status", "phase", value="Failed"),
                ("VMI demo is Failed instead of Running",),
            ),
        ),
        blinds=(
            Mutation("no answer", NO_VMI, ANSWER),
            Mutation(
                "still starts",
                set_path("vmi", "status", "phase", value="Scheduling"),
                ("VMI demo is Scheduling, still starting",),
            ),
        ),
    ),
    "QOS-POD": Proof(
        breaks=(
            Mutation(
                "burstable",
                pod(lambda obj: obj["status"].update(qosClass="Burstable")),
                ("virt-launcher-demo-x is Burstable instead of Guaranteed",),
            ),
        ),
        blinds=(
            Mutation("no pod", NO_POD, ANSWER),
            Mutation("no class", pod(lambda obj: obj["status"].pop("qosClass")), ("qosClass",)),
        ),
    ),
    "NUMA-MEMORY": Proof(
        breaks=(
            Mutation(
                "bound elsewhere",
                edit_xml("<memnode cellid='0' mode='strict' nodeset='0'/>", _MEMNODE.format(1)),
                ("cell 0 is bound to node 1 of the host", "pinned to node 0"),
                base=MIRRORED,
            ),
            Mutation(
                "bound nowhere",
                edit_xml("<memnode cellid='0' mode='strict' nodeset='0'/>", ""),
                ("the memory of cell 0 is bound to no NUMA node",),
                base=MIRRORED,
            ),
            Mutation(
                "less than asked for",
                edit_xml("memory='196608'", "memory='98304'"),
                ("100663296 bytes of memory together", "asks for 201326592"),
                base=MIRRORED,
            ),
        ),
        blinds=(
            Mutation("no libvirt", NO_LIBVIRT, ("the socket did not answer",), base=MIRRORED),
            Mutation(
                "no cells",
                edit_xml(f"<numa>{_CELL}</numa>", ""),
                ("the domain has no NUMA cell",),
                base=MIRRORED,
            ),
        ),
    ),
    "NUMA-PAGES": Proof(
        breaks=(
            Mutation(
                "on the other node",
                _memory("N0=96", "N1=96"),
                ("memory of the guest is on node 1", "run on node 0"),
                base=MIRRORED,
            ),
            Mutation(
                "of another size",
                _memory("kernelpagesize_kB=2048", "kernelpagesize_kB=1048576"),
                ("0 bytes are on pages of 2097152 bytes",),
                base=MIRRORED,
            ),
            Mutation(
                "half of it",
                _memory("N0=96", "N0=48"),
                ("100663296 bytes are on pages",),
                base=MIRRORED,
            ),
        ),
        blinds=(
            Mutation(
                "no numa_maps", without("/numa_maps"), ("no numa_maps of QEMU",), base=MIRRORED
            ),
            Mutation(
                "no size of pages",
                _memory(" kernelpagesize_kB=2048", ""),
                ("the size of huge pages", "/proc/150/numa_maps"),
                base=MIRRORED,
            ),
        ),
    ),
    "RT-SCHED": Proof(
        breaks=(
            Mutation(
                "of the mask, and not in real time",
                _scheduled(154, 0, 0),
                ("vCPU 0 is of the mask and scheduled by SCHED_OTHER",),
                base=MIRRORED,
            ),
            Mutation(
                "another priority",
                _scheduled(154, 1, 5),
                ("scheduled by SCHED_FIFO with priority 5",),
                base=MIRRORED,
            ),
            Mutation(
                "not of the mask, and in real time",
                _scheduled(155, 1, 1),
                ("vCPU 1 is not of the mask",),
                base=MIRRORED,
            ),
        ),
        blinds=(
            Mutation(
                "no stat", without("/proc/154/stat"), ("/proc/154/stat of vCPU 0",), base=MIRRORED
            ),
            Mutation("no threads", NO_THREADS, ("no thread of the compute",), base=MIRRORED),
        ),
    ),
    "RT-LABEL": Proof(
        breaks=(
            Mutation(
                "a label although time is limited",
                files({good.RT_RUNTIME: "950000\n"}),
                ("has the label kubevirt.io/realtime", "sched_rt_runtime_us is 950000"),
            ),
            Mutation(
                "no label",
                set_path("node", "metadata", "labels", value=_WITHOUT_REALTIME),
                ("has no label kubevirt.io/realtime",),
            ),
        ),
        blinds=(
            Mutation("no node", lost("node", "no rights", node=None), ("no rights",)),
            Mutation("no sysctl", without("sched_rt"), ("sched_rt_runtime_us of node",)),
        ),
    ),
    "QOS-VMI": Proof(
        breaks=(
            Mutation(
                "another class",
                set_path("vmi", "status", "qosClass", value="Burstable"),
                ("says that it is Burstable instead of Guaranteed",),
            ),
        ),
        blinds=(
            Mutation("no VMI", NO_VMI, ("the API did not answer",)),
            Mutation(
                "no class",
                set_path("vmi", "status", "qosClass", value=None),
                ("has no .status.qosClass",),
            ),
        ),
    ),
    "PIN-HINT": Proof(
        breaks=(
            Mutation(
                "no hint",
                edit_xml("<hint-dedicated state='on'/>", ""),
                ("hint-dedicated (none) instead of on",),
            ),
            Mutation(
                "off",
                edit_xml("<hint-dedicated state='on'/>", "<hint-dedicated state='off'/>"),
                ("hint-dedicated off instead of on",),
            ),
        ),
        blinds=(
            Mutation("no libvirt", NO_LIBVIRT, ("the socket did not answer",)),
            Mutation(
                "no features",
                edit_xml("<features><acpi/><kvm><hint-dedicated state='on'/></kvm></features>", ""),
                ("recorded without <features>",),
            ),
        ),
    ),
    "EMU-PIT": Proof(
        breaks=(
            Mutation(
                "anywhere",
                timer("0-11"),
                ("kvm-pit/80 (timer of KVM, 160) may run on 0-11", "where vCPU 0 does, 2"),
            ),
            Mutation("beside vCPU 1", timer("3"), ("may run on 3",)),
        ),
        blinds=(
            Mutation("nobody looked", without("/proc/1/"), ("were not looked at",)),
            Mutation(
                "of one of two guests",
                another_of_that_number,
                ("2 kernel threads are called kvm-pit/80, of 2 guests",),
            ),
        ),
    ),
    "PLUG-BOOT": Proof(
        breaks=(
            Mutation(
                "no room",
                edit_xml("current='2'>8</vcpu>", "current='2'>4</vcpu>"),
                ("may have 4 vCPUs", "instead of the 8 of maxSockets"),
                base=GROWABLE,
            ),
            Mutation(
                "one vCPU is off",
                edit_xml("<vcpu id='1' enabled='yes'", "<vcpu id='1' enabled='no'"),
                ("has 1 vCPUs enabled (0", "instead of the 2 of its sockets"),
                also=frozenset({"PIN-XML"}),
                base=GROWABLE,
            ),
        ),
        blinds=(Mutation("no libvirt", NO_LIBVIRT, ("the socket did not answer",), base=GROWABLE),),
    ),
    "IOT-POOL": Proof(
        breaks=(
            Mutation(
                "beside a vCPU",
                edit_xml("<iothreadpin iothread='1' cpuset='4'/>", _PINNED.format(3)),
                ("IOThread 1 shares pCPU 3 with a vCPU",),
                also=frozenset({"PIN-LIVE"}),
                base=POOLED,
            ),
            Mutation(
                "its thread elsewhere",
                affinity(150, 153, "2"),
                ("thread IO iothread1 may run on 2 instead of its own 4",),
                base=POOLED,
            ),
        ),
        blinds=(
            Mutation("no libvirt", NO_LIBVIRT, ("the socket did not answer",), base=POOLED),
            Mutation(
                "no threads", NO_THREADS, ("no thread of the compute container",), base=POOLED
            ),
        ),
    ),
    "IOT-SPREAD": Proof(
        breaks=(
            Mutation(
                "not pinned",
                edit_xml("<iothreadpin iothread='1' cpuset='4'/>", ""),
                ("IOThread 1 is not pinned",),
                base=SHARED,
            ),
        ),
        blinds=(Mutation("no libvirt", NO_LIBVIRT, ("the socket did not answer",), base=SHARED),),
    ),
    "IOT-DISKS": Proof(
        breaks=(
            Mutation(
                "shared with another disk",
                edit_xml("<driver name='qemu'/>", "<driver name='qemu' iothread='1'/>"),
                ("disk other uses IOThread 1 of disk root",),
                base=SHARED,
            ),
        ),
        blinds=(
            Mutation("no libvirt", NO_LIBVIRT, ("the socket did not answer",), base=SHARED),
            Mutation(
                "no such disk",
                edit_xml("<alias name='ua-root'/>", "<alias name='ua-else'/>"),
                ("no disk that is called root",),
                base=SHARED,
            ),
        ),
    ),
    "QOS-CONTAINERS": Proof(
        breaks=(
            Mutation(
                "an init container without limits",
                container("initContainers", 0, limits={}),
                ("container guest-console-log (restartable-init)", "has no CPU limit"),
            ),
            Mutation(
                "more memory than asked for",
                container("containers", 0, limits={"cpu": "3", "memory": "1Gi"}),
                ("container compute", "of memory and is limited to 1073741824 B"),
            ),
        ),
        blinds=(Mutation("no pod", NO_POD, ANSWER),),
    ),
    "QOS-INTEGER": Proof(
        breaks=(
            Mutation(
                "half a CPU more",
                container("containers", 0, requests={"cpu": "2500m", "memory": "556Mi"}),
                ("requests 2500m CPU, which is no whole number",),
                also=frozenset({"QOS-CONTAINERS"}),
            ),
        ),
        blinds=(Mutation("no pod", NO_POD, ANSWER),),
    ),
    "CPU-COUNT": Proof(
        breaks=(
            Mutation(
                "a limit of four",
                container(
                    "containers",
                    0,
                    requests={"cpu": "4", "memory": "556Mi"},
                    limits={"cpu": "4", "memory": "556Mi"},
                ),
                ("limited to 4000m CPU instead of 3 (2 vCPUs + 1 for the emulator)",),
            ),
        ),
        blinds=(
            Mutation("no checkpoint", NO_CHECKPOINT, ("cpu_manager_state",)),
            Mutation("no cgroups", NO_CGROUPS, (good.CGROUPS,)),
        ),
    ),
    "CPU-EXCLUSIVE": Proof(
        breaks=(
            Mutation(
                "a neighbour's thread",
                affinity(400, 400, "0-11"),
                (
                    "pCPU 2-4 of compute is also in the affinity 0-11 of thread 'virt-handler'",
                    "/proc/400/task/400/status",
                ),
            ),
            Mutation(
                "a neighbour's cpuset",
                cpuset(good.HANDLER_CGROUP, "0-1,4-5,8-11"),
                (
                    "pCPU 4 of compute is also in the cpuset 0-1,4-5,8-11 of container",
                    "container virt-handler of pod kubevirt/virt-handler-z",
                    "cpuset.cpus.effective",
                ),
                also=frozenset({"CPU-POOL"}),
            ),
            Mutation(
                "no entry at all",
                checkpoint(
                    lambda state: (state["entries"].pop(good.UID), state.update(policyName="none"))
                ),
                ("no exclusive CPUs", "under policy none"),
                also=frozenset({"CPU-COUNT", "NODE-LABEL"}),
            ),
            Mutation(
                "given twice",
                checkpoint(lambda state: state["entries"].update(third={"compute": "4"})),
                ("pCPU 4 of compute is also given to compute", "entries.third.compute"),
            ),
        ),
        blinds=(
            Mutation("no checkpoint", NO_CHECKPOINT, ("cpu_manager_state",)),
            Mutation("no cgroups", NO_CGROUPS, (good.CGROUPS,)),
            Mutation(
                "one neighbour unseen",
                without(good.HANDLER_CGROUP),
                ("cpuset of container virt-handler", "was not read"),
            ),
            Mutation("no threads", NO_THREADS, ("no thread of container",)),
            Mutation(
                "a checkpoint of another form",
                files({good.CHECKPOINT: '{"policyName": "static", "sharedCpuSet": "0-1"}'}),
                ("cpu_manager_state", "sharedCpuSet"),
            ),
        ),
    ),
    "CPU-RESERVED": Proof(
        breaks=(
            Mutation(
                "reserved up to 2",
                files(
                    {
                        good.CONFIGZ: json.dumps(
                            {
                                "kubeletconfig": {
                                    "cpuManagerPolicy": "static",
                                    "reservedSystemCPUs": "0-2",
                                }
                            }
                        )
                    }
                ),
                ("pCPU 2 of compute (2-4) is reserved", "reservedSystemCPUs 0-2"),
            ),
        ),
        blinds=(Mutation("no configuration", without("/configz"), ("configuration",)),),
    ),
    "CPU-POOL": Proof(
        breaks=(
            Mutation(
                "a container outside of the pool",
                cpuset(good.HANDLER_CGROUP, "0-1,5-11"),
                ("virt-handler", "may run on 6-7, outside of the shared pool 0-1,5,8-11"),
            ),
            Mutation(
                "a leak",
                both(
                    checkpoint(lambda state: state.update(defaultCpuSet="0-1,5,8-10")),
                    *(
                        cpuset(path, "0-1,5,8-10")
                        for path in (good.HANDLER_CGROUP, good.HOOK_CGROUP, good.LOG_CGROUP)
                    ),
                ),
                ("online pCPU 11 is neither in the shared pool", "leaked"),
            ),
        ),
        blinds=(
            Mutation("no checkpoint", NO_CHECKPOINT, ("cpu_manager_state",)),
            Mutation(
                "no topology",
                lost("topology", "no such file", hardware={}),
                ("no such file",),
            ),
        ),
    ),
    "CPU-QUOTA": Proof(
        breaks=(
            Mutation(
                "throttled",
                files({f"{good.CGROUPS}{good.ROOT}/cpu.max": "300000 100000\n"}),
                ("cpu.max is 300000 100000 instead of max", "v1.36.2"),
            ),
        ),
        blinds=(Mutation("no cgroups", NO_CGROUPS, ("cpu.max of compute was not read",)),),
    ),
    "PIN-XML": Proof(
        breaks=(
            Mutation(
                "one vCPU enabled",
                edit_xml("<vcpu id='1' enabled='yes'", "<vcpu id='1' enabled='no'"),
                ("enables 1 vCPUs (0) instead of 2",),
            ),
            Mutation(
                "two on one",
                edit_xml("<vcpupin vcpu='1' cpuset='3'/>", "<vcpupin vcpu='1' cpuset='2'/>"),
                ("vCPUs 0 and 1 share pCPU 2",),
                also=frozenset({"PIN-LIVE"}),
            ),
            Mutation(
                "outside",
                edit_xml("<vcpupin vcpu='1' cpuset='3'/>", "<vcpupin vcpu='1' cpuset='9'/>"),
                ("vCPU 1 is pinned to 9, outside of compute's cpuset 2-4",),
                also=frozenset({"PIN-LIVE"}),
            ),
            Mutation(
                "not pinned",
                edit_xml("<vcpupin vcpu='1' cpuset='3'/>", ""),
                ("no <vcpupin> for vCPU 1",),
                also=frozenset({"PIN-LIVE"}),
            ),
        ),
        blinds=(
            Mutation("no libvirt", NO_LIBVIRT, ("the socket did not answer",)),
            Mutation("no XML", libvirt(xml="<domain"), ("expected XML", "<domain")),
        ),
    ),
    "PIN-LIVE": Proof(
        breaks=(
            Mutation(
                "an emulator that moved",
                edit_xml("<emulatorpin cpuset='4'/>", "<emulatorpin cpuset='3'/>"),
                ("the emulator is pinned to 4", "domain XML says 3", good.SOURCE),
            ),
            Mutation(
                "a vCPU that moved",
                libvirt(vcpu_pins={"0": "2", "1": "2-3"}),
                ("vCPU 1 is pinned to 2-3", "XML says 3"),
                also=frozenset({"PIN-THREADS"}),
            ),
        ),
        blinds=(Mutation("no libvirt", NO_LIBVIRT, ("the socket did not answer",)),),
    ),
    "PIN-THREADS": Proof(
        breaks=(
            Mutation(
                "two pCPUs",
                affinity(150, 155, "2-3"),
                (
                    "vCPU 1 may run on 2-3, not on exactly one pCPU (/proc/150/task/155/status",
                    "libvirt says 3",
                ),
            ),
            Mutation(
                "a thread is missing",
                both(members({good.ROOT: (154, 170)}), without("/task/155/")),
                ("QEMU has 1 vCPU threads (of vCPUs 0) instead of 2",),
                also=frozenset({"PIN-CGROUP"}),
            ),
        ),
        blinds=(
            Mutation("no threads", NO_THREADS, ("no thread of the compute container",)),
            Mutation("no libvirt", NO_LIBVIRT, ("the socket did not answer",)),
        ),
    ),
    "PIN-CGROUP": Proof(
        breaks=(
            Mutation(
                "swept into housekeeping",
                members({good.ROOT: (154, 170), good.HOUSEKEEPING: (*_OTHERS, 155)}),
                ("vCPU 1 belongs on pCPU 3 and sits in a cgroup whose cpuset is 4",),
                also=frozenset({"EMU-HOUSEKEEPING"}),
            ),
        ),
        blinds=(
            Mutation("no threads", NO_THREADS, ("no thread of the compute container",)),
            Mutation("no cgroups", NO_CGROUPS, (good.CGROUPS,)),
        ),
    ),
    "EMU-ISOLATED": Proof(
        breaks=(
            Mutation(
                "a thread of QEMU beside a vCPU",
                affinity(150, 151, "3"),
                ("call_rcu (RCU of QEMU, 151) may run on 3", "on pCPU 3 of vCPU 1"),
            ),
            Mutation(
                "two pCPUs",
                both(
                    libvirt(emulator_pin="3-4"),
                    edit_xml("<emulatorpin cpuset='4'/>", "<emulatorpin cpuset='3-4'/>"),
                    cpuset(good.HOUSEKEEPING, "3-4"),
                ),
                ("pinned to 2 pCPUs (3-4) instead of 1", "shares pCPU 3 with vCPUs"),
            ),
        ),
        blinds=(
            Mutation("no libvirt", NO_LIBVIRT, ("the socket did not answer",)),
            Mutation("no threads", NO_THREADS, ("no thread of the compute container",)),
        ),
    ),
    "EMU-HOUSEKEEPING": Proof(
        breaks=(
            Mutation(
                "virtqemud stayed",
                members({good.ROOT: (120, *_VCPUS), good.HOUSEKEEPING: (100, 101, *_OTHERS[3:])}),
                ("1 threads that are no vCPUs sit in the root", "virtqemud (libvirt, 120)"),
            ),
            Mutation(
                "no housekeeping",
                both(
                    without("/housekeeping/"),
                    members({good.ROOT: _VCPUS + _OTHERS}),
                ),
                ("has no child housekeeping",),
            ),
        ),
        blinds=(
            Mutation("no libvirt", NO_LIBVIRT, ("the socket did not answer",)),
            Mutation("no threads", NO_THREADS, ("no thread of the compute container",)),
        ),
    ),
    "IOT-WITHIN": Proof(
        breaks=(
            Mutation(
                "outside",
                affinity(150, 153, "10"),
                ("thread IO iothread1 may run on 10, outside of compute's cpuset 2-4",),
                also=frozenset({"IOT-ISOLATED"}),
            ),
        ),
        blinds=(
            Mutation("no libvirt", NO_LIBVIRT, ("the socket did not answer",)),
            Mutation("no threads", NO_THREADS, ("no thread of the compute container",)),
        ),
    ),
    "IOT-ISOLATED": Proof(
        breaks=(
            Mutation(
                "beside a vCPU",
                affinity(150, 153, "2"),
                ("thread IO iothread1 may run on 2, the pCPU of vCPU 0, outside of the",),
            ),
        ),
        blinds=(Mutation("no libvirt", NO_LIBVIRT, ("the socket did not answer",)),),
    ),
    "SMT-SIBLINGS": Proof(
        breaks=(
            Mutation(
                "siblings on two cores",
                both(
                    libvirt(
                        xml=good.xml(vcpus={0: "2", 1: "4"}, emulator="3").replace(
                            "iothread='1' cpuset='4'", "iothread='1' cpuset='3'"
                        ),
                        vcpu_pins={"0": "2", "1": "4"},
                        emulator_pin="3",
                        iothread_pins={"1": "3"},
                    ),
                    cpuset(good.HOUSEKEEPING, "3"),
                    affinity(150, 155, "4"),
                    *(affinity(150, tid, "3") for tid in (150, 151, 152, 153)),
                    affinity(156, 156, "3"),
                ),
                ("only 0 of 1 pairs", "2-4 holds 1 whole cores", "0-1 on 2,4"),
            ),
        ),
        blinds=(
            Mutation("no console", NO_CONSOLE, ("the console is closed",)),
            Mutation("no libvirt", NO_LIBVIRT, ("the socket did not answer",)),
        ),
    ),
    "SMT-ALIGNED": Proof(
        breaks=(
            Mutation(
                "runs on a core and a half",
                lambda _: good.whole_cores_only(good.running()),
                ("asks for 3 CPUs on cores of 2 threads", "it is Running"),
                base=TURNED_AWAY,
            ),
        ),
        blinds=(
            Mutation("no configuration", without("configz"), ("configuration",), base=TURNED_AWAY),
        ),
    ),
    "NUMA-MAPPED": Proof(
        breaks=(
            Mutation(
                "two nodes over one",
                console(_two_nodes),
                ("nodes hold vCPUs 0 and 1", "those of the host hold 0-1"),
                base=MIRRORED,
            ),
        ),
        blinds=(
            Mutation("no console", NO_CONSOLE, ("the console is closed",), base=MIRRORED),
            Mutation("no libvirt", NO_LIBVIRT, ("did not answer",), base=MIRRORED),
        ),
    ),
    "NUMA-ALIGNED": Proof(
        breaks=(
            Mutation(
                "two nodes under single-numa-node",
                lambda raw: replace(raw, hardware={**raw.hardware, **_NODES_OF_FOUR_AND_EIGHT}),
                ("2-4", "is on 2 NUMA nodes", "on 1 or not at all"),
                base=NEAR,
            ),
        ),
        blinds=(Mutation("no configuration", without("configz"), ("configuration",), base=NEAR),),
    ),
    "GUEST-VCPUS": Proof(
        breaks=(
            Mutation(
                "a third CPU",
                console(_third_cpu),
                ("the guest sees 3 CPUs (0-2) instead of 2",),
                also=frozenset({"GUEST-TOPOLOGY"}),
            ),
        ),
        blinds=(
            Mutation("no console", NO_CONSOLE, ("the console is closed",)),
            Mutation(
                "half a line",
                lambda raw: replace(raw, console='CPU-CONFORMANCE-GUEST {"sockets": 1, "on'),
                ("no complete line",),
            ),
        ),
    ),
    "GUEST-TOPOLOGY": Proof(
        breaks=(
            Mutation(
                "says two sockets",
                console(lambda report: report.update(sockets=2)),
                ("2 sockets x 1 cores x 2 threads instead of 1 sockets x 1 cores x 2 threads",),
            ),
            Mutation(
                "threads became sockets",
                console(_flat),
                ("2 sockets x 1 cores x 1 threads instead of",),
                also=frozenset({"SMT-SIBLINGS"}),
            ),
        ),
        blinds=(Mutation("no console", NO_CONSOLE, ("the console is closed",)),),
    ),
    "SIDE-RESOURCES": Proof(
        breaks=(
            Mutation(
                "a cheaper hook",
                container(
                    "containers",
                    1,
                    requests={"cpu": "100m", "memory": "64M"},
                    limits={"cpu": "100m", "memory": "64M"},
                ),
                ("hook-sidecar-0", "requests 100m CPU instead of 200m CPU"),
            ),
            Mutation(
                "a hook of a whole CPU",
                both(
                    container(
                        "containers",
                        1,
                        requests={"cpu": "1", "memory": "64M"},
                        limits={"cpu": "1", "memory": "64M"},
                    ),
                    checkpoint(
                        lambda state: (
                            state["entries"][good.UID].update({"hook-sidecar-0": "5"}),
                            state.update(defaultCpuSet="0-1,8-11"),
                        )
                    ),
                    cpuset(good.HOOK_CGROUP, "5"),
                    cpuset(good.LOG_CGROUP, "0-1,8-11"),
                    affinity(210, 210, "0-1,8-11"),
                    cpuset(good.HANDLER_CGROUP, "0-1,8-11"),
                ),
                ("requests 1000m CPU instead of 200m CPU, and owns pCPU 5 for it",),
            ),
            Mutation(
                "no hook",
                pod(lambda obj: obj["spec"]["containers"].pop()),
                ("has no sidecar hook-sidecar-0, only guest-console-log, volumeroot, compute",),
            ),
        ),
        blinds=(Mutation("no pod", NO_POD, ANSWER),),
    ),
    "SIDE-UNPINNED": Proof(
        breaks=(
            Mutation(
                "on one CPU",
                cpuset(good.HOOK_CGROUP, "5"),
                ("hook-sidecar-0", "is 5", "instead of the shared pool 0-1,5,8-11"),
            ),
            Mutation(
                "an entry of its own",
                both(
                    checkpoint(
                        lambda state: (
                            state["entries"][good.UID].update({"hook-sidecar-0": "5"}),
                            state.update(defaultCpuSet="0-1,8-11"),
                        )
                    ),
                    cpuset(good.HOOK_CGROUP, "5"),
                    cpuset(good.LOG_CGROUP, "0-1,8-11"),
                    cpuset(good.HANDLER_CGROUP, "0-1,8-11"),
                ),
                ("was given exclusive CPUs 5",),
            ),
        ),
        blinds=(
            Mutation("no checkpoint", NO_CHECKPOINT, ("cpu_manager_state",)),
            Mutation("no cgroup of it", without(good.HOOK_CGROUP), ("cpuset of sidecar",)),
        ),
    ),
    "NODE-LABEL": Proof(
        breaks=(
            Mutation(
                "false on a static node",
                set_path("node", "metadata", "labels", "cpumanager", value="false"),
                ("label cpumanager=false while its kubelet's policy is static",),
            ),
            Mutation(
                "true without the policy",
                both(
                    files({good.CONFIGZ: '{"kubeletconfig": {"cpuManagerPolicy": "none"}}'}),
                ),
                ("label kubevirt.io/cpumanager=true while its kubelet's policy is none",),
            ),
        ),
        blinds=(
            Mutation(
                "no kubelet", without("cpu_manager_state", "/configz"), ("neither the kubelet's",)
            ),
            Mutation("no node", lost("node", "no rights", node=None), ("no rights",)),
        ),
    ),
    "NODE-SELECT": Proof(
        breaks=(
            Mutation(
                "no selector",
                pod(_drop_label),
                ("selects kubevirt.io/cpumanager=(nothing) instead of true",),
            ),
        ),
        blinds=(Mutation("no node", lost("node", "no rights", node=None), ("no rights",)),),
    ),
    "LIFE-RELEASED": Proof(
        breaks=(
            Mutation(
                "still in the checkpoint",
                checkpoint(
                    lambda state: (
                        state["entries"].update({good.UID: {"compute": "2-4"}}),
                        state.update(defaultCpuSet=good.POOL),
                    )
                ),
                ("the checkpoint still gives 2-4 to compute",),
                base=DELETED,
            ),
            Mutation(
                "leaked",
                checkpoint(lambda state: state.update(defaultCpuSet=good.POOL)),
                ("pCPU 2-4 has left the checkpoint",),
                base=DELETED,
            ),
            Mutation(
                "a cgroup stays",
                lambda raw: replace(
                    raw,
                    files={**raw.files, f"{good.CGROUPS}{good.POD_SLICE}/cgroup.procs": ""},
                ),
                ("cgroups of pod ns/virt-launcher-demo-x are still there", good.POD_SLICE),
                base=DELETED,
            ),
            Mutation(
                "the pod stays",
                lambda raw: replace(raw, pod=good.launcher()),
                ("pod ns/virt-launcher-demo-x is still there (Running)",),
                base=DELETED,
            ),
        ),
        blinds=(
            Mutation("no checkpoint", NO_CHECKPOINT, ("cpu_manager_state",), base=DELETED),
            Mutation("no cgroups", NO_CGROUPS, (good.CGROUPS,), base=DELETED),
            Mutation(
                "no memory of it",
                lambda raw: replace(raw, former=None),
                ("nobody noted",),
                base=DELETED,
            ),
        ),
    ),
}
