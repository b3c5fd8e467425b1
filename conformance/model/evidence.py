"""What was seen of one workload at one moment: first as raw text, then as facts.

A `RawSnapshot` is what collectors record and what the evidence bundle holds: API objects,
texts of files, libvirt's answers. `conformance.parsing.assemble` turns it into a
`Snapshot`, the only thing that checks see. What could not be observed is absent (None or
empty) in the snapshot, with its reason in `not_observed`: absence never passes.

Longer than 400 lines: a dictionary of facts, which is looked up and holds no logic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

from conformance.editions import Labels
from conformance.model.cpuset import CpuSet
from conformance.model.shared import Shared
from conformance.model.topology import Topology
from conformance.model.vocabulary import COMPUTE
from conformance.model.watch import Life

T = TypeVar("T")
Json = Mapping[str, Any]


@dataclass(frozen=True)
class RawDomain:
    """libvirt's answers about one domain, as recorded.

    Attributes:
        vcpu_pins: CPU list text by vCPU id; likewise iothread_pins by IOThread id.
        source: how it was asked.
        versions: of libvirt and QEMU, in words; empty where they were not asked for.
    """

    xml: str
    vcpu_pins: Mapping[str, str]
    emulator_pin: str
    iothread_pins: Mapping[str, str]
    source: str
    versions: str = ""


@dataclass(frozen=True)
class Former:
    """What a workload was before it was deleted: all that can be looked for afterwards.

    Attributes:
        container_ids: without their scheme.
        exclusive: text of its CPU list in the kubelet's checkpoint.
    """

    pod_namespace: str
    pod_name: str
    pod_uid: str
    container_ids: tuple[str, ...]
    exclusive: str


@dataclass(frozen=True)
class RawSnapshot:
    """Everything recorded of one workload at one moment, unparsed.

    Attributes:
        case: id of the case; scenario: id of the scenario it belongs to.
        moment: named for what should have happened by then: ``running``, ``refused``,
            ``deleted``, or a moment of the scenario. A VMI that the API refused although it
            should run has its snapshot at ``running``, with a `rejection`.
        began, ended: UTC, ISO 8601 with milliseconds: when reading began and ended.
        manifest: the VMI or pod as the user wrote it; empty where a node was looked at.
        vmi, pod, node: API objects, None when there is none.
        pods: every pod bound to the node at that time.
        events: API events about the VMI and its pod.
        rejection: the API's ``Status`` when creation was refused, with ``code``.
        hardware: node files that never change while it is up, by absolute path:
            ``/sys/devices/system/{cpu,node}``. Kept apart so that snapshots share them.
        files: other node files by absolute path, and the kubelet's configz by its API path.
        unreadable: reason by path.
        former: the workload before its deletion, at the moment ``deleted``.
        domain: libvirt's answers.
        console: what the guest printed.
        not_observed: reason by layer: ``vmi pod node files domain console ...``.
        torn: what changed while it was read (pod UID, container id); a torn snapshot is
            never judged.
        done: what was done to the cluster since the scenario's last moment, in words.
        given_back: exclusive CPUs that other VMIs of the run gave back to the node, oldest first:
            ``TIME CPULIST``, the time in ISO 8601. They leave no other trace.
        gone: when the workload was first seen to have gone from the API, at the moment
            ``deleted``; empty in the evidence of former versions, which kept the last look alone.
        clock: time by the node's own clock when its files were read, in ISO 8601: containers were
            started by that one. Empty where it is not known, as in the evidence of former versions.
        owner: the VirtualMachine that made the VMI, in scenarios that change one.
        lost: why the recording of this moment cannot be read; it says nothing then.
    """

    case: str
    scenario: str
    moment: str
    began: str
    ended: str
    manifest: Json
    vmi: Json | None = None
    pod: Json | None = None
    node: Json | None = None
    pods: tuple[Json, ...] = ()
    events: tuple[Json, ...] = ()
    rejection: Json | None = None
    hardware: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    domain: RawDomain | None = None
    console: str | None = None
    former: Former | None = None
    not_observed: Mapping[str, str] = field(default_factory=dict)
    torn: str | None = None
    done: tuple[str, ...] = ()
    given_back: tuple[str, ...] = ()
    gone: str = ""
    clock: str = ""
    owner: Json | None = None
    lost: str | None = None

    @cached_property
    def look(self) -> Shared[tuple[Json, ...], Mapping[str, str]]:
        """`pods` and `files`: one look at the node, which other snapshots may share."""
        return Shared(self.pods, self.files)

    @cached_property
    def machine(self) -> Shared[Mapping[str, str]]:
        """`hardware`, which other snapshots may share."""
        return Shared(self.hardware)

    def sharing(
        self, look: Shared[tuple[Json, ...], Mapping[str, str]], machine: Shared[Mapping[str, str]]
    ) -> RawSnapshot:
        """This snapshot with what others have in common with it."""
        (pods, files), (hardware,) = look.values, machine.values
        found = replace(self, pods=pods, files=files, hardware=hardware)
        vars(found).update(look=look, machine=machine)
        return found

    def once(self, make: Callable[[RawSnapshot], T]) -> T:
        """What `make`, a pure function, makes of it; made when it is first asked for."""
        if make not in self._made:
            self._made[make] = make(self)
        found: T = self._made[make]
        return found

    @cached_property
    def _made(self) -> dict[Callable[[RawSnapshot], Any], Any]:
        return {}


@dataclass(frozen=True)
class Resources:
    """CPU in thousandths, memory in bytes; None when it is not expressed."""

    cpu_milli: int | None
    memory_bytes: int | None


@dataclass(frozen=True)
class Thread:
    """One thread of a container.

    Attributes:
        affinity: ``Cpus_allowed_list`` of /proc/PID/task/TID/status.
        cgroup: its cgroup v2 path below the mount point.
        parent: parent process id, as the node counts; None when the node does not say.
        inner_pid: its id in the innermost PID namespace.
        policy, priority: by which it is scheduled (sched(7): 1 is SCHED_FIFO), and its real-time
            priority; None where they were not read.
    """

    pid: int
    tid: int
    name: str
    affinity: CpuSet
    cgroup: str
    parent: int | None = None
    inner_pid: int | None = None
    policy: int | None = None
    priority: int | None = None


@dataclass(frozen=True)
class CpuLimit:
    """What limits the CPU time of one cgroup.

    Attributes:
        cgroup: path below the mount point.
        cpu_max: text of ``cpu.max``, None where it was not read.
        throttled: ``nr_throttled`` of ``cpu.stat``: how often that has ever bitten.
    """

    cgroup: str
    cpu_max: str | None
    throttled: int | None


@dataclass(frozen=True)
class Container:
    """One container of a pod: what the API says and, where it was seen, what the node says.

    Attributes:
        role: ``container``, ``init``, ``restartable-init`` (a sidecar among initContainers) or
            ``ephemeral`` (``kubectl debug``).
        id: container id without its scheme, None before it has one.
        running: whether the API says that it runs.
        started, ended: when it did by the API, as it writes times; None without.
        trouble: what it waits for, or how it failed, in words; empty for one that is well.
        cgroup: the cgroup v2 path below the mount point that holds its processes; None when it
            was not found.
        cpuset: ``cpuset.cpus.effective`` of that cgroup; configured: ``cpuset.cpus``.
        children: effective cpuset by child cgroup (name relative to the container's).
        limited: of each cgroup from the node's root down to its own, the outermost first.
        partitions: text of ``cpuset.cpus.partition`` by cgroup on that way, where it says more
            than ``member``.
        threads: every thread in it and its children.
        unseen: ids of threads in it of which no status was recorded.
        huge: bytes on huge pages by (NUMA node, bytes of a page), of its QEMU; None where the
            memory of none was read.
        unplaced: threads of its processes that are in none of the cgroups that were read.
    """

    name: str
    role: str
    image: str
    requests: Resources
    limits: Resources
    id: str | None
    running: bool
    restarts: int = 0
    started: str | None = None
    ended: str | None = None
    trouble: str = ""
    cgroup: str | None = None
    cpuset: CpuSet | None = None
    configured: CpuSet | None = None
    children: Mapping[str, CpuSet] = field(default_factory=dict)
    limited: tuple[CpuLimit, ...] = ()
    partitions: Mapping[str, str] = field(default_factory=dict)
    threads: tuple[Thread, ...] = ()
    unseen: tuple[int, ...] = ()
    unplaced: tuple[Thread, ...] = ()
    huge: Mapping[tuple[int, int], int] | None = None


@dataclass(frozen=True)
class Unlisted:
    """What runs below kubepods in a cgroup of no container that the API shows.

    A pod's sandbox is one; a container of a pod that was deleted by force, or an instance that
    a runtime left running, is another.

    Attributes:
        cgroup: path below the mount point; container_id: by its name, empty without one.
        pod_uid: of the pod whose cgroup it is in, empty outside of any.
        cpuset: ``cpuset.cpus.effective``, None where it was not read; configured:
            ``cpuset.cpus``, which is empty for what the kubelet has no hand in.
    """

    cgroup: str
    pod_uid: str
    container_id: str
    cpuset: CpuSet | None
    threads: tuple[Thread, ...]
    configured: CpuSet | None = None

    @property
    def processes(self) -> tuple[Thread, ...]:
        """The main threads, the first process at the head."""
        mains = (thread for thread in self.threads if thread.tid == thread.pid)
        return tuple(sorted(mains, key=lambda each: (each.inner_pid or each.pid, each.pid)))


@dataclass(frozen=True)
class Pod:
    """One pod.

    Attributes:
        affinity_labels: labels that every term of its required node affinity asks for, where a
            term asks for one value of them.
        static_uid: its UID on its node, where that is another one: of a static pod.
        claims: names of its ``resourceClaims``: devices that a driver of DRA gives, which may
            be CPUs.
        resizing: whether its resources are being changed in place.
        leaving: whether its deletion has begun.
        admitted: when its kubelet took it (``.status.startTime``); None before that.
    """

    namespace: str
    name: str
    uid: str
    phase: str
    qos_class: str | None
    reason: str | None
    node: str | None
    labels: Mapping[str, str]
    node_selector: Mapping[str, str]
    containers: tuple[Container, ...]
    affinity_labels: Mapping[str, str] = field(default_factory=dict)
    static_uid: str | None = None
    claims: tuple[str, ...] = ()
    resizing: bool = False
    leaving: bool = False
    admitted: str | None = None

    def container(self, name: str) -> Container | None:
        """The container of that name, init containers included."""
        return next((c for c in self.containers if c.name == name), None)

    @property
    def required_labels(self) -> Mapping[str, str]:
        """Labels that its node must have: by the selector, or by a required affinity."""
        return {**self.affinity_labels, **self.node_selector}

    @property
    def compute(self) -> Container | None:
        """The container in which the launcher runs the guest."""
        return self.container(COMPUTE)

    @property
    def cpu_milli(self) -> int:
        """What the scheduler counts it for, in thousandths of a CPU.

        Containers and restartable init containers run together; before them each init
        container runs beside the restartable ones that came before it (Kubernetes, sidecar
        containers, resource sharing).
        """
        beside, most = 0, 0
        for container in self.containers:
            cpu = container.requests.cpu_milli or 0
            if container.role == "init":
                most = max(most, beside + cpu)
            elif container.role == "restartable-init":
                beside += cpu
        together = sum(c.requests.cpu_milli or 0 for c in self.containers if c.role == "container")
        return max(most, beside + together)


@dataclass(frozen=True)
class Checkpoint:
    """The kubelet's cpu_manager_state.

    Attributes:
        entries: exclusive CPUs by (pod UID, container name).
        path: where it was read.
        pods: exclusive CPUs by pod UID, of which containers have theirs and share the rest
            (PodLevelResourceManagers).
        remarks: what is odd about the file although it can be read.
        unknown: keys of the file that are not known.
    """

    policy: str
    default: CpuSet
    entries: Mapping[tuple[str, str], CpuSet]
    path: str
    pods: Mapping[str, CpuSet] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def given(self) -> CpuSet:
        """Everything that is exclusive to somebody."""
        return CpuSet.union_of((*self.entries.values(), *self.pods.values()))


@dataclass(frozen=True)
class Kubelet:
    """What the node's kubelet is configured to do with CPUs.

    Attributes:
        reserved: explicitly reserved CPUs (``reservedSystemCPUs``), None when the
            configuration names none (it may reserve a number of CPUs instead).
        topology_policy: of the topology manager; topology_scope: what it keeps together,
            ``container`` or ``pod``.
        reserved_milli: what ``kubeReserved`` and ``systemReserved`` reserve together, in
            thousandths of a CPU; None when neither names CPU.
        reconcile_seconds: ``cpuManagerReconcilePeriod``: how often it moves running containers
            to where they belong.
    """

    policy: str | None
    reserved: CpuSet | None
    options: Mapping[str, str]
    source: str
    topology_policy: str | None = None
    topology_scope: str = "container"
    reserved_milli: int | None = None

    @property
    def running(self) -> bool:
        """Whether it is the configuration that it runs with: a file may be overruled by flags."""
        return self.source.endswith("/configz")

    def enables(self, option: str) -> bool:
        """Whether a policy option is on, in any word that the kubelet takes (ParseBool)."""
        return self.options.get(option, "").lower() in {"true", "t", "1"}

    reconcile_seconds: float = 10.0


@dataclass(frozen=True)
class Node:
    """The node on which the workload runs.

    Attributes:
        capacity_cpu_milli: all of its CPUs, of which it keeps what is not allocatable.
        host: main threads of processes outside of pods that may run elsewhere than the node's
            first process; None when nobody looked.
        timers: kernel threads ``kvm-pit/N``, each the timer of the guest whose QEMU is N in its PID
            namespace; None when nobody looked.
        heartbeat: when virt-handler last decided on its labels, by the annotation
            ``kubevirt.io/heartbeat``, which it writes with them in one patch (kubevirt
            pkg/virt-handler/heartbeat).
        ready: status of its condition Ready; None where it has none.
        ready_since: when that condition last changed, as it does when a kubelet is restarted.
        skips_labeller: whether it has the annotation by which virt-handler leaves its labels alone.
        rt_runtime: ``kernel.sched_rt_runtime_us``; None where it was not read.
    """

    name: str
    labels: Mapping[str, str]
    allocatable_cpu_milli: int | None
    topology: Topology | None
    kubelet: Kubelet | None
    checkpoint: Checkpoint | None
    kubelet_version: str = ""
    capacity_cpu_milli: int | None = None
    host: tuple[Thread, ...] | None = None
    timers: tuple[Thread, ...] | None = None
    heartbeat: datetime | None = None
    ready: str | None = None
    ready_since: datetime | None = None
    rt_runtime: int | None = None
    skips_labeller: bool = False


@dataclass(frozen=True)
class DomainTopology:
    """``<topology>`` of the domain; None where the domain has no such element.

    Attributes:
        dies: of a socket; clusters: of a die; cores: of a cluster.
    """

    sockets: int
    cores: int
    threads: int
    dies: int = 1
    clusters: int = 1


@dataclass(frozen=True)
class Domain:
    """The domain XML, parsed.

    Attributes:
        type: ``kvm`` or ``qemu``.
        maximum: vCPUs that the domain may have, ``<vcpu>``.
        enabled: ids of the enabled vCPUs: those that ``<vcpus>`` calls enabled, without it
            as many as ``<vcpu current=>`` or ``<vcpu>`` says. With CPU hotplug the domain
            has more vCPUs than are enabled.
        vcpu_pins: CPUs by enabled vCPU, from ``<vcpupin>``.
        source: how the XML was read.
        emulator_pin: from ``<emulatorpin>``, None without one.
        iothreads: ids of the domain's IOThreads.
        numa_cells: vCPUs by guest NUMA cell.
        numa_memory: bytes by guest NUMA cell; memory_nodes: NUMA nodes of the host by cell, from
            ``<memnode>``.
        architecture: of the guest, such as ``x86_64``; None where ``<os>`` does not say.
        kvm: state by element of ``<features><kvm>``; None without any ``<features>``.
        disk_iothreads: IOThreads by disk, which is called by the name that the VMI gives it; None
            where the XML has no disk at all.
    """

    type: str
    name: str
    enabled: CpuSet
    vcpu_pins: Mapping[int, CpuSet]
    emulator_pin: CpuSet | None
    iothreads: frozenset[int]
    iothread_pins: Mapping[int, CpuSet]
    topology: DomainTopology | None
    numa_cells: Mapping[int, CpuSet]
    source: str
    architecture: str | None = None
    kvm: Mapping[str, str] | None = None
    disk_iothreads: Mapping[str, frozenset[int]] | None = None
    maximum: int | None = None
    numa_memory: Mapping[int, int] = field(default_factory=dict)
    memory_nodes: Mapping[int, CpuSet] = field(default_factory=dict)


@dataclass(frozen=True)
class LivePins:
    """What the running libvirt answers: pins by enabled vCPU, of the emulator, by IOThread."""

    vcpu_pins: Mapping[int, CpuSet]
    emulator_pin: CpuSet
    iothread_pins: Mapping[int, CpuSet]
    source: str


@dataclass(frozen=True)
class Guest:
    """What the guest itself says of its CPUs."""

    topology: Topology
    sockets: int
    cores_per_socket: int
    threads_per_core: int


@dataclass(frozen=True)
class Rejection:
    """How the API refused the manifest.

    Attributes:
        causes: (field, message) of every cause.
    """

    code: int
    reason: str
    message: str
    causes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Migration:
    """The last live migration of a VMI, as its status has it.

    Attributes:
        uid: of the object that asked for it.
        source, target: names of nodes; pod: name of the launcher pod on the target.
        completed, failed: what became of it; neither while it is under way.
        reason: why it failed, where that is said.
        ended: when the guest had moved, or was given up.
    """

    uid: str
    source: str
    target: str
    pod: str
    completed: bool
    failed: bool
    reason: str = ""
    ended: datetime | None = None

    @property
    def under_way(self) -> bool:
        """Whether it has not ended, so that the guest may be on either side or on its way.

        When it has failed, `completed` is told as well by some who fail it, and not by others
        (kubevirt pkg/virt-handler/migration-source.go, isMigrationDone).
        """
        return not (self.completed or self.failed)

    @property
    def succeeded(self) -> bool:
        """Whether the guest runs on the target since."""
        return self.completed and not self.failed


@dataclass(frozen=True)
class Vmi:
    """The VMI's status.

    Attributes:
        conditions: ``STATUS REASON: MESSAGE`` by condition type.
        deleting: whether its deletion has begun.
        reason: why it is in its phase, where its status says so.
        reached: when it came to each phase that it has had.
        even_parity: whether it has the annotation that completes its CPUs to an even number.
        qos_class: of its launcher pod, as its own status has it; None where it has none.
        migration: its last one; None where its status tells of none.
        sockets: that its spec asks for; current_sockets: of ``.status.currentCPUTopology``, which
            the guest has. None where they are not given.
    """

    namespace: str
    name: str
    uid: str
    phase: str
    node: str | None
    conditions: Mapping[str, str]
    deleting: bool = False
    reason: str = ""
    reached: Mapping[str, datetime | None] = field(default_factory=dict)
    qos_class: str | None = None
    even_parity: bool = False
    migration: Migration | None = None
    sockets: int | None = None
    current_sockets: int | None = None


Around = Shared[tuple[Pod, ...], Checkpoint | None, tuple[Unlisted, ...]]
"""Pods of a node, its checkpoint and what else runs below kubepods: the same for every snapshot
of one look at it."""


@dataclass(frozen=True)
class Snapshot:
    """Facts about one workload at one moment; see RawSnapshot for what is raw in it.

    Attributes:
        pod: the workload's launcher pod, with what the node says of its containers.
        pods: every pod on the node, `pod` included.
        events: one line an event, oldest first.
        leftovers: cgroups on the node that belong to the `former` workload; where a node was
            looked at, those of pods that are not on it.
        unlisted: what runs below kubepods beside the containers of `pods`.
        unreadable: reason by path of a node file that is there and could not be read.
        moved: what of the workload moved last, and when, in words; empty where nothing says so.
        life: what a watcher saw while it ran; None where nothing was watched, or not yet.
        owner_conditions: ``STATUS REASON: MESSAGE`` by condition type of the VirtualMachine that
            made the VMI; None where it was not read.
    """

    case: str
    scenario: str
    moment: str
    began: str
    ended: str
    manifest: Json
    vmi: Vmi | None = None
    pod: Pod | None = None
    node: Node | None = None
    pods: tuple[Pod, ...] = ()
    domain: Domain | None = None
    live: LivePins | None = None
    guest: Guest | None = None
    rejection: Rejection | None = None
    events: tuple[str, ...] = ()
    former: Former | None = None
    leftovers: tuple[str, ...] = ()
    unlisted: tuple[Unlisted, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    not_observed: Mapping[str, str] = field(default_factory=dict)
    torn: str | None = None
    done: tuple[str, ...] = ()
    given_back: tuple[str, ...] = ()
    gone: str = ""
    clock: str = ""
    moved: str = ""
    life: Life | None = None
    owner_conditions: Mapping[str, str] | None = None

    @cached_property
    def around(self) -> Around:
        """Everybody on the node at that moment, with what checks make of them all."""
        return Shared(self.pods, self.node.checkpoint if self.node else None, self.unlisted)

    @cached_property
    def inside(self) -> Shared[Container | None]:
        """The compute container, with what checks make of it."""
        return Shared(self.pod.compute if self.pod else None)

    def sharing(self, around: Around) -> Snapshot:
        """This snapshot, if that is all that is around it, with what others make of that too."""
        if [*map(id, around.values)] == [*map(id, self.around.values)]:
            vars(self)["around"] = around
        return self

    @property
    def subject(self) -> str:
        """Name of the VMI or pod that was looked at; empty where a node was."""
        metadata = self.manifest.get("metadata")
        return str(metadata.get("name", "")) if isinstance(metadata, Mapping) else ""


@dataclass(frozen=True)
class Story:
    """Everything that one scenario recorded, oldest first.

    Attributes:
        labels: the CPU manager labels that may hold; see `Expectation.labels`.
    """

    scenario: str
    profile: str
    snapshots: tuple[Snapshot, ...]
    labels: tuple[Labels, ...] = ()
