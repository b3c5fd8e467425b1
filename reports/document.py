"""The report document: everything that a run has to say, in one serialisable value.

Whoever judges a run builds a `Document`; every renderer of this package needs nothing else.
Its JSON form (`reports.form`) is ``report.json``, described by the published
``report.schema.json``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

VERSION = 4
"""Version of the document's form; it grows with every change of `report.schema.json`."""


class DocumentError(ValueError):
    """A text is not a report document; the message says where and why."""


class Verdict(StrEnum):
    """The outcome of one requirement: of one finding, or the worst of many."""

    PASS = "pass"
    FAIL = "fail"
    NOT_APPLICABLE = "not-applicable"
    NOT_OBSERVED = "not-observed"
    KNOWN_DIVERGENCE = "known-divergence"
    ERROR = "error"


WORST_FIRST = (
    Verdict.FAIL,
    Verdict.ERROR,
    Verdict.NOT_OBSERVED,
    Verdict.KNOWN_DIVERGENCE,
    Verdict.PASS,
    Verdict.NOT_APPLICABLE,
)
"""Every verdict, the one to look at first in front."""


class Standing(StrEnum):
    """What a whole run says of one requirement.

    Of findings that differ the first of these counts, BROKEN before all others. NOT_APPLICABLE:
    every finding says so, or the cluster is known to lack what it would take. NOT_ASKED: no case
    and no scenario that was selected could show it.
    """

    BROKEN = "broken"
    ERROR = "error"
    NOT_OBSERVED = "not-observed"
    KNOWN_DIVERGENCE = "known-divergence"
    KEPT = "kept"
    NOT_ASKED = "not-asked"
    NOT_APPLICABLE = "not-applicable"


class Outcome(StrEnum):
    """The outcome of the whole run.

    CONFORMANT: every mandatory requirement that applies was observed and kept.
    CONFORMANT_AS_ASKED: nothing was broken and nothing that was asked is open, but not all was
    asked, or something is known not to be kept.
    """

    CONFORMANT = "conformant"
    CONFORMANT_AS_ASKED = "conformant-as-far-as-asked"
    NOT_CONFORMANT = "not-conformant"
    INCONCLUSIVE = "inconclusive"
    INTERRUPTED = "interrupted"


class OwnerKind(StrEnum):
    """Who has a pCPU.

    VCPU and EMULATOR say what an exclusive pCPU is used for; EXCLUSIVE is one whose use
    is not known or is neither.
    """

    VCPU = "vcpu"
    EMULATOR = "emulator"
    EXCLUSIVE = "exclusive"
    SHARED = "shared"
    RESERVED = "reserved"


Counts = Mapping[Verdict, int]
"""Findings by verdict; every verdict is present."""


@dataclass(frozen=True)
class Run:
    """One run of the tool.

    Attributes:
        tool_version: of the tool that recorded it, with its commit where that is known.
        started, finished: UTC, ISO 8601.
        seconds: duration on the wall clock.
        command: the command line; empty where it was not recorded.
        judged_by: version of the tool that judged it.
    """

    id: str
    tool_version: str
    started: str
    finished: str
    seconds: float
    command: str = ""
    judged_by: str = ""


@dataclass(frozen=True)
class Selection:
    """What of a matrix was asked.

    Attributes:
        keyword: the expression of ``-k``; empty without one.
        tests: the tests that were named, where those were not all.
        shape: of the cluster that was made for the run; empty for one that was there.
        left_out: cases and scenarios of the matrix that were not selected.
    """

    keyword: str = ""
    tests: tuple[str, ...] = ()
    shape: str = ""
    left_out: int = 0

    @property
    def partial(self) -> bool:
        """Whether this is not the whole of its matrix."""
        return bool(self.keyword or self.tests or self.left_out)


@dataclass(frozen=True)
class Software:
    """What runs on one node; empty where it is not known.

    Attributes:
        runtime: such as ``containerd://1.7.24``.
    """

    kubelet: str = ""
    runtime: str = ""
    kernel: str = ""
    os_image: str = ""
    architecture: str = ""


@dataclass(frozen=True)
class Setting:
    """What of the cluster rightly changes what must be seen, as it was read before the first case.

    Attributes:
        kubernetes, kubevirt: versions; empty where they were not read.
        served: versions of the API kubevirt.io; None where they were not read.
        gates, disabled_gates: feature gates that the KubeVirt CR lists; None where none was read.
        even_parity: whether every isolated emulator gets an even number of CPUs.
        support: resources by type of container that the CR sets (``supportContainerResources``).
        max_cpu_sockets: ``maxCpuSockets`` of the CR.
        nodes: by name.
        libvirt: versions of libvirt, QEMU and machine types that the evidence shows.
        unread: why a part could not be read, by part.
        remarks: what of it is newer than this tool knows.
    """

    kubernetes: str = ""
    kubevirt: str = ""
    served: tuple[str, ...] | None = None
    gates: tuple[str, ...] | None = None
    disabled_gates: tuple[str, ...] = ()
    even_parity: bool = False
    support: Mapping[str, str] = field(default_factory=dict)
    max_cpu_sockets: int | None = None
    nodes: Mapping[str, Software] = field(default_factory=dict)
    libvirt: tuple[str, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cluster:
    """What was judged.

    Attributes:
        provider: where the cluster came from, such as ``embedded`` or ``existing``.
        stack: what pinned the CPUs, such as ``embedded stack`` or ``KubeVirt v1.6.0``.
        simulation: nothing of it was real; every renderer says so.
        nodes: one line on each node (its topology, its CPU manager) by name.
        acceleration: how virtual nodes ran, such as ``TCG``; empty where that means nothing.
    """

    provider: str
    stack: str
    simulation: bool
    nodes: Mapping[str, str] = field(default_factory=dict)
    acceleration: str = ""


@dataclass(frozen=True)
class Conclusion:
    """The verdict on the whole run: why, in a few sentences, and the exit code that goes with it.

    Attributes:
        kept: mandatory requirements that were observed and kept.
        known: those that are known not to be kept.
        applying: those that apply to the cluster, whether they were asked or not.
    """

    outcome: Outcome
    reason: str
    exit_code: int
    kept: int = 0
    known: int = 0
    applying: int = 0


@dataclass(frozen=True)
class Requirement:
    """One requirement of the catalogue with what became of it.

    Attributes:
        level: ``MUST``, ``SHOULD`` ...
        tier: ``contract`` or ``implementation``.
        sources: where it comes from: document and section.
        verdict: the worst of its findings; see `worst`.
        counts: of its findings; see `count`.
        standing: what the run says of it.
        why: the reason of a standing that needs one.
    """

    id: str
    title: str
    text: str
    level: str
    tier: str
    sources: tuple[str, ...]
    verdict: Verdict
    counts: Counts
    standing: Standing
    why: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One case of the matrix.

    Attributes:
        manifest: the VMI as it was submitted.
        expectation: what had to happen, a few words by aspect, such as ``vCPUs: 4``.
        outcome: what happened, in a few words, such as ``Running on node-1``.
        verdict: the worst of its findings.
        scenario: id of the scenario that it belongs to.
    """

    id: str
    title: str
    manifest: Mapping[str, Any]
    expectation: Mapping[str, str]
    outcome: str
    verdict: Verdict
    scenario: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """One of the values that were compared.

    Attributes:
        what: such as ``vCPU 1 by vcpupin``.
        value: text; CPU lists as Linux writes them.
        source: where it came from: file, API object and field, command.
    """

    what: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One requirement judged at one moment.

    Attributes:
        message: one sentence that alone tells what was compared and what is wrong.
        compared: the values, in the order of the message.
        case, scenario: ids; empty where it is about the whole cluster.
        evidence: the recording that it was judged on, a path relative to the report.
        notes: remarks beside it, which change no verdict.
    """

    requirement: str
    verdict: Verdict
    message: str
    compared: tuple[Compared, ...] = ()
    case: str = ""
    scenario: str = ""
    moment: str = ""
    node: str = ""
    evidence: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cpu:
    """One online pCPU of a node.

    Attributes:
        core: core id, unique within its socket only.
        node: NUMA node.
        siblings: ids of the hardware threads of its core, itself included.
    """

    id: int
    core: int
    socket: int
    node: int
    siblings: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Owner:
    """Who had one pCPU.

    Attributes:
        workload: the VMI or pod; empty for SHARED and RESERVED.
        container: of the workload's pod.
        vcpu: number of the guest's vCPU, for VCPU.
    """

    cpu: int
    kind: OwnerKind
    workload: str = ""
    container: str = ""
    vcpu: int | None = None


@dataclass(frozen=True, slots=True)
class CpuMap:
    """Who had each pCPU of a node at one moment.

    A pCPU without an owner was not observed; one with several has them all, and they collide.

    Attributes:
        workload: the VMI that the moment is about; its pCPUs stand out.
    """

    case: str
    moment: str
    workload: str
    owners: tuple[Owner, ...]


@dataclass(frozen=True)
class Node:
    """One node: its topology, the CPUs reserved for the system, and its maps in time order.

    Attributes:
        left_out: how many maps more there would be; those of broken cases go first.
    """

    name: str
    cpus: tuple[Cpu, ...]
    reserved: tuple[int, ...] = ()
    maps: tuple[CpuMap, ...] = ()
    left_out: int = 0


@dataclass(frozen=True)
class Problem:
    """Something that broke in the cluster or the harness, apart from any requirement.

    Attributes:
        during: what was being done, such as ``cleanup``.
        message: one sentence that says what happened and what to do.
    """

    during: str
    message: str
    case: str = ""
    node: str = ""


@dataclass(frozen=True)
class Fault:
    """A request that the API failed and that was sent again.

    It changes no verdict: what was not answered in the end is a `Problem`.
    """

    message: str
    times: int


@dataclass(frozen=True)
class Capability:
    """Something that requirements may need of a cluster, whether it has it, and why.

    Attributes:
        present: None where that could not be read.
    """

    name: str
    present: bool | None
    reason: str


@dataclass(frozen=True)
class Timings:
    """Seconds by phase, in order, and by case id."""

    phases: Mapping[str, float] = field(default_factory=dict)
    cases: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Document:
    """One run.

    Attributes:
        profile: the API generation judged, such as ``v1``.
        matrix: which cases, such as ``smoke``.
        counts: of all findings; see `count`.
        setting: of the cluster; None in a report of a former version.
    """

    run: Run
    cluster: Cluster
    profile: str
    matrix: str
    conclusion: Conclusion
    counts: Counts
    requirements: tuple[Requirement, ...]
    cases: tuple[Case, ...]
    findings: tuple[Finding, ...]
    nodes: tuple[Node, ...] = ()
    problems: tuple[Problem, ...] = ()
    faults: tuple[Fault, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    timings: Timings = field(default_factory=Timings)
    setting: Setting | None = None
    selection: Selection = field(default_factory=Selection)
    version: int = VERSION


def count(findings: Iterable[Finding]) -> Counts:
    """The findings by verdict, zeros included, the worst first."""
    counts = dict.fromkeys(WORST_FIRST, 0)
    for finding in findings:
        counts[finding.verdict] += 1
    return counts


def worst(findings: Iterable[Finding]) -> Verdict:
    """The worst verdict. Of nothing it is NOT_OBSERVED: no evidence never counts as kept."""
    seen = {finding.verdict for finding in findings}
    return next((verdict for verdict in WORST_FIRST if verdict in seen), Verdict.NOT_OBSERVED)
