"""The report document: everything that a run has to say, in one serialisable value.

Whoever judges a run builds a `Document`; every renderer of this package needs nothing else.
Its JSON form (`reports.form`) is ``report.json``, described by the published
``report.schema.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reports.pcpus import Claim, Cpu, CpuMap, Mark, Node, OwnerKind, Source
from reports.verdicts import WORST_FIRST, Counts, Outcome, Standing, Verdict, count, worst
from reports.waivers import Waiver, WaiverState

__all__ = [
    "VERSION",
    "WORST_FIRST",
    "Capability",
    "Case",
    "Claim",
    "Cluster",
    "Compared",
    "Conclusion",
    "Counts",
    "Cpu",
    "CpuMap",
    "Document",
    "DocumentError",
    "Event",
    "Fault",
    "Finding",
    "Mark",
    "Node",
    "Outcome",
    "OwnerKind",
    "Problem",
    "Quote",
    "Requirement",
    "Run",
    "Selection",
    "Setting",
    "Software",
    "Source",
    "Standing",
    "Target",
    "Timings",
    "Verdict",
    "Waiver",
    "WaiverState",
    "Watch",
    "count",
    "worst",
]

VERSION = 7
"""Version of the document's form; it grows with every change of `report.schema.json`."""


class DocumentError(ValueError):
    """A text is not a report document; the message says where and why."""


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
        nodes: nodes that were each to be judged (``--nodes``), and the case that runs there alone.
    """

    keyword: str = ""
    tests: tuple[str, ...] = ()
    shape: str = ""
    left_out: int = 0
    nodes: Mapping[str, str] = field(default_factory=dict)

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
        stack: what pinned the CPUs, such as ``the reference stack`` or ``KubeVirt v1.6.0``.
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
        follows: ids of requirements that, broken in the same case, usually explain this one.
        unseen_without: ids of requirements that, not kept in the same case, explain why this one
            was not observed.
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
    follows: tuple[str, ...] = ()
    unseen_without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a workload.

    Attributes:
        at: UTC, ISO 8601.
        source: who says so: ``VMI``, ``pod``, ``event``, ``evidence`` ...
        what: such as ``phase Running``.
    """

    at: str
    source: str
    what: str


@dataclass(frozen=True, slots=True)
class Quote:
    """What somebody said, word for word.

    Attributes:
        source: the API object and field, or the log.
    """

    source: str
    text: str


@dataclass(frozen=True, slots=True)
class Target:
    """An object of the cluster that a case was about, for whoever looks by hand.

    Attributes:
        vmi, pod: names; empty where there was none. node: where it ran.
    """

    namespace: str
    vmi: str = ""
    pod: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One case of the matrix.

    Attributes:
        manifest: the VMI as it was submitted.
        expectation: what had to happen, a few words by aspect, such as ``vCPUs: 4``.
        outcome: what happened, in a few words, such as ``Running on node-1``.
        verdict: the worst of its findings.
        scenario: id of the scenario that it belongs to.
        phases: seconds by phase: ``starting``, ``evidence``, ``deleting``.
        targets: the workloads that were looked at.
        timeline: what happened, oldest first.
        last_words: of containers and pods that failed.
    """

    id: str
    title: str
    manifest: Mapping[str, Any]
    expectation: Mapping[str, str]
    outcome: str
    verdict: Verdict
    scenario: str = ""
    phases: Mapping[str, float] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()
    timeline: tuple[Event, ...] = ()
    last_words: tuple[Quote, ...] = ()

    @property
    def seconds(self) -> float:
        """Its phases together."""
        return sum(self.phases.values())


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
        message: everything that it says: what was compared, what is wrong, where to look.
        compared: the values, in the order of the message.
        case, scenario: ids; empty where it is about the whole cluster.
        evidence: the recording that it was judged on, a path relative to the report.
        notes: remarks beside it, which change no verdict.
        summary: the same in one sentence of at most 200 characters.
        objections: what is wrong, one by one.
        look: what to look at next.
        id: the same in every run: requirement, case and, where a case has several, node.
        fingerprint: of requirement, case, verdict and the kind of objection, without CPU ids,
            names and times: the same defect has the same in every run. Empty for what passed.
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
    summary: str = ""
    objections: tuple[str, ...] = ()
    look: str = ""
    id: str = ""
    fingerprint: str = ""


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
class Watch:
    """How one node was watched while the run lasted.

    Attributes:
        seconds: for which it was; looks: in that time.
        gap: longest time between two looks, seconds.
        cost: CPU time that it took on the node, seconds.
        why: it was not watched at all, or not to the end; empty otherwise.
    """

    node: str
    seconds: float = 0.0
    looks: int = 0
    gap: float = 0.0
    cost: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Document:
    """One run.

    Attributes:
        profile: the API generation judged, such as ``v1``.
        matrix: which cases, such as ``smoke``.
        counts: of all findings; see `count`.
        setting: of the cluster; None in a report of a former version.
        waivers: of the user, and what became of each.
        watches: of each node; none where the evidence knows of no watcher.
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
    waivers: tuple[Waiver, ...] = ()
    watches: tuple[Watch, ...] = ()
    version: int = VERSION
