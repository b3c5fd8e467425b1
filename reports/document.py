"""The report document: everything that a run has to say, in one serialisable value.

Whoever judges a run builds a `Document`; every renderer of this package needs nothing else.
Its JSON form is ``report.json``, described by the published ``report.schema.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cache
from importlib import resources
from textwrap import shorten
from typing import Any

VERSION = 3
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


class Outcome(StrEnum):
    """The outcome of the whole run."""

    CONFORMANT = "conformant"
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
        started, finished: UTC, ISO 8601.
        seconds: duration on the wall clock.
    """

    id: str
    tool_version: str
    started: str
    finished: str
    seconds: float


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
    """The verdict on the whole run: one sentence why, and the exit code that goes with it."""

    outcome: Outcome
    reason: str
    exit_code: int


@dataclass(frozen=True)
class Requirement:
    """One requirement of the catalogue with what became of it.

    Attributes:
        level: ``MUST``, ``SHOULD`` ...
        tier: ``contract`` or ``implementation``.
        sources: where it comes from: document and section.
        verdict: the worst of its findings; see `worst`.
        counts: of its findings; see `count`.
    """

    id: str
    title: str
    text: str
    level: str
    tier: str
    sources: tuple[str, ...]
    verdict: Verdict
    counts: Counts


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
    """Something that requirements may need of a cluster, whether it has it, and why."""

    name: str
    present: bool
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


@cache
def schema() -> Mapping[str, Any]:
    """The published JSON schema of the document."""
    text = resources.files("reports").joinpath("report.schema.json").read_text(encoding="utf-8")
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded


def dump(document: Document) -> str:
    """The document as JSON text, as `load` reads it: one finding, case or node a line."""
    members = ",\n".join(
        f"{json.dumps(each.name)}: {_member(getattr(document, each.name))}"
        for each in fields(document)
    )
    return f"{{\n{members}\n}}\n"


def _member(value: object) -> str:
    if isinstance(value, tuple):
        lines = ",\n ".join(map(_json, value))
        return f"[\n {lines}\n]" if lines else "[]"
    return _json(value)


def _json(value: object) -> str:
    return json.dumps(value, default=_fields, ensure_ascii=False, allow_nan=False)


def _fields(value: Any) -> dict[str, Any]:
    """A dataclass one level deep; json asks for what is inside, without copying it all."""
    return {each.name: getattr(value, each.name) for each in fields(value)}


def load(text: str) -> Document:
    """Reads what `dump` wrote.

    Raises:
        DocumentError: the text is not JSON, comes from another version of the document's
            form, or does not match the schema.
    """
    # Both are needed only to read a report, never to make one.
    import cattrs
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise DocumentError(f"not a report document: not JSON: {error}") from error
    version = data.get("version") if isinstance(data, dict) else None
    if isinstance(version, int) and version != VERSION:
        raise DocumentError(
            f"the report document has version {version} and this tool reads version {VERSION}; "
            "use the tool that wrote it (run.tool_version names it)"
        )
    mismatch = best_match(Draft202012Validator(schema()).iter_errors(data))
    if mismatch is not None:
        message = shorten(mismatch.message, 200, placeholder=" ...")
        raise DocumentError(f"not a report document: at {mismatch.json_path}: {message}")
    return cattrs.structure(data, Document)
