"""An audit: every dedicated VMI that runs on a cluster, and every node, looked at and recorded.

What was recorded is judged as any run is (`conformance.judging.report`).
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clusters.contract.access import ClusterAccess
from clusters.kit.api import ApiError, Json
from conformance.auditing.looking import Look, Looker, case_of, manifest_of, node_case
from conformance.auditing.meter import Cost, Meter, MeteredApi
from conformance.auditing.redaction import PLAIN, Redaction
from conformance.auditing.states import Found, State, found
from conformance.collecting import bundle
from conformance.collecting.record import Record, describe, record
from conformance.collecting.snapshot import NODES_AT_ONCE
from conformance.judging.decide import settling, settling_node
from conformance.judging.terms import Terms, terms_of
from conformance.judging.waivers import Waived, as_data
from conformance.model.evidence import RawSnapshot, Snapshot
from conformance.model.vocabulary import (
    API_VERSIONS,
    EVERY_NODE,
    GUEST_CONSOLE,
    LIBVIRT,
    NODE_FILES,
    NUMA,
    OFFERED,
    RUNNING,
    SMT,
)
from conformance.parsing.assemble import assemble
from conformance.settling import (
    HOUSEKEEPING,
    GaveUpError,
    Hope,
    NotYetError,
    until,
)

LOOKS_APART = 10.0
"""Between two looks at nodes where something has not settled, seconds at most."""
RATE = 50.0
"""Requests a second, unless another number is asked for."""
CONSOLE = "only a guest can tell, and nobody else's console is opened"
CHANGES = "an audit changes nothing, and judges what is there"
ON_GUESTS_CPUS = "a command in a launcher runs on its guest's CPUs; --libvirt asks"


@dataclass(frozen=True)
class Wanted:
    """What is to be audited.

    Attributes:
        namespace: the only one, empty for all; selector: of labels of VMIs; name: of the only VMI.
        node: name of the only node.
        libvirt: whether launchers' libvirt is asked, by commands that can change nothing.
        rate: requests a second at the most.
        settle: how long what has not settled is looked at again while nothing changes, seconds.
        waivers: failures that are allowed.
    """

    namespace: str = ""
    selector: str = ""
    name: str = ""
    node: str = ""
    libvirt: bool = False
    rate: float = RATE
    settle: float = HOUSEKEEPING
    waivers: tuple[Waived, ...] = ()

    @property
    def everything(self) -> bool:
        """Whether it is about the whole cluster, nodes without VMIs too."""
        return not (self.namespace or self.selector or self.name)

    def __str__(self) -> str:
        parts = (
            f"namespace {self.namespace}" if self.namespace else "",
            f"VMIs with {self.selector}" if self.selector else "",
            f"VMI {self.name}" if self.name else "",
            f"node {self.node}" if self.node else "",
        )
        return ", ".join(filter(None, parts))


@dataclass
class Audited:
    """What an audit came to.

    Attributes:
        vmis: VMIs that are judged; passed: others by their case, with their state.
        nodes: nodes that were looked at.
    """

    vmis: list[str] = field(default_factory=list)
    passed: dict[str, Found] = field(default_factory=dict)
    nodes: list[str] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)


def audit(
    access: ClusterAccess,
    provider: str,
    name: str,
    directory: Path,
    say: Callable[[str], None],
    *,
    profile: str,
    wanted: Wanted,
    redaction: Redaction = PLAIN,
    command: str = "",
) -> Audited:
    """Records what the promise says of every VMI that runs and asked for it, and of every node.

    Args:
        access: to the cluster.
        provider: its kind.
        name: its name.
        directory: where the evidence goes.
        say: is told what is being looked at.
        profile: by which it will be judged.
        wanted: what is looked at.
        redaction: of names.
        command: the command line.

    Raises:
        ApiError: the lists of VMIs and nodes cannot be had.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    meter = Meter(wanted.rate)
    api = MeteredApi(access.kubeconfig, meter, faults=bundle.FaultLog(directory))
    looker = Looker(api, access, API_VERSIONS[profile], meter, libvirt=wanted.libvirt)
    vmis, nodes = _subjects(looker, wanted)
    run = record(
        name,
        provider,
        profile=profile,
        matrix=f"what runs on {name}" + (f": {wanted}" if str(wanted) else ""),
        cases=[],
        moments=(RUNNING, EVERY_NODE),
        command=command,
        waivers=as_data(wanted.waivers),
    )
    unasked = {
        **dict.fromkeys(OFFERED, CHANGES),
        GUEST_CONSOLE: CONSOLE,
        **({} if wanted.libvirt else {LIBVIRT: ON_GUESTS_CPUS}),
    }
    run["audit"] = {"unasked": unasked, "nodes": []}
    describe(run, access, api, capabilities=False)
    run["capabilities"] = {NODE_FILES: {"available": True, "reason": access.description}}
    session = _Session(looker, run, directory, redaction, say)
    session.go(vmis, nodes, wanted.settle)
    session.audited.cost = meter.cost
    session.write(meter)
    return session.audited


def _subjects(looker: Looker, wanted: Wanted) -> tuple[list[Json], list[Json]]:
    """The VMIs that are wanted, and the nodes that are to be looked at."""
    vmis = looker.vmis(wanted.namespace, wanted.selector)
    if wanted.name:
        vmis = [vmi for vmi in vmis if vmi["metadata"]["name"] == wanted.name]
    nodes = looker.nodes()
    if wanted.node:
        vmis = [vmi for vmi in vmis if _node_of(vmi) == wanted.node]
        nodes = [node for node in nodes if node["metadata"]["name"] == wanted.node]
    if not wanted.everything:
        used = {_node_of(vmi) for vmi in vmis if found(vmi).judged}
        nodes = [node for node in nodes if node["metadata"]["name"] in used]
    return vmis, nodes


def _node_of(vmi: Json) -> str:
    return str((vmi.get("status") or {}).get("nodeName") or "")


def _odd(terms: Terms, vmi: Json) -> Found | None:
    """Why nothing is promised of a VMI that runs, as far as its stored spec says."""
    expectation = terms.expect(manifest_of(vmi))
    if expectation.refusal is not None:
        fields = ", ".join(expectation.refusal.fields)
        return Found(State.ODD, f"it would be refused for {fields} ({expectation.refusal.rule})")
    if expectation.undecided is not None:
        return Found(State.ODD, expectation.undecided)
    return None


def _by_name(nodes: Iterable[Json]) -> dict[str, Json]:
    return {str(node["metadata"]["name"]): node for node in nodes}


class _Session:
    """One audit under way."""

    def __init__(
        self,
        looker: Looker,
        run: Record,
        directory: Path,
        redaction: Redaction,
        say: Callable[[str], None],
    ) -> None:
        self.audited = Audited()
        self._looker, self._run, self._directory = looker, run, directory
        self._redaction, self._say = redaction, say
        self._planned: dict[str, Json] = {}
        self._states: dict[str, Found] = {}
        self._looks: dict[str, list[Snapshot]] = defaultdict(list)
        self._at_nodes: dict[str, list[Snapshot]] = defaultdict(list)
        self._hardware: dict[str, Mapping[str, str]] = {}

    def go(self, vmis: Sequence[Json], nodes: Sequence[Json], settle: float) -> None:
        """Looks at every node, and again at those where something has not settled."""
        by_name = _by_name(nodes)
        self.audited.nodes = sorted(by_name)
        waiting: dict[str, list[Json]] = {name: [] for name in by_name}
        terms = terms_of(self._run)
        for vmi in vmis:
            state, node = found(vmi), _node_of(vmi)
            state = _odd(terms, vmi) or state if state.judged else state
            if not state.judged:
                self.audited.passed[case_of(vmi)] = state
            else:
                self._planned[case_of(vmi)] = vmi
                self._states[case_of(vmi)] = state
                waiting.setdefault(node, []).append(vmi)
        for name in waiting.keys() - by_name.keys():
            # A node that is not listed: what the VMI says of it is looked at all the same.
            by_name[name] = {"metadata": {"name": name}}
        self.write()
        number = len(self._planned)
        self._say(f"looking at {len(waiting)} nodes with {number} VMIs that are to be judged")

        def round_() -> None:
            left = self._round(by_name, waiting, terms)
            waiting.clear()
            waiting.update(left)
            if waiting:
                names = ", ".join(sorted(waiting)[:5])
                # What they say of themselves by then: labels, heartbeats, conditions.
                with contextlib.suppress(ApiError):
                    by_name.update(_by_name(self._looker.nodes()))
                raise NotYetError(f"not settled yet on {len(waiting)} nodes, such as {names}")

        with contextlib.suppress(GaveUpError):
            until("the audit", round_, Hope(settle), pause=LOOKS_APART, on_change=self._say)

    def _round(
        self, nodes: Mapping[str, Json], waiting: Mapping[str, list[Json]], terms: Terms
    ) -> dict[str, list[Json]]:
        """One look at each of these nodes; what has not settled on them."""
        left: dict[str, list[Json]] = {}
        with ThreadPoolExecutor(NODES_AT_ONCE, thread_name_prefix="audit") as pool:
            looks = {
                name: pool.submit(self._looker.look, nodes[name], vmis)
                for name, vmis in sorted(waiting.items())
            }
            for name in list(looks):
                again = self._note(name, looks.pop(name).result(), waiting[name], terms)
                if again is not None:
                    left[name] = again
        return left

    def _note(self, node: str, look: Look, vmis: Sequence[Json], terms: Terms) -> list[Json] | None:
        """Writes what one look showed; what of it has to be looked at again, None for nothing."""
        self._hardware.setdefault(node, look.node.hardware)
        again, alone = [], False
        if node in self.audited.nodes:
            self._write(look.node)
            self._at_nodes[node].append(assemble(look.node))
            alone = look.node.torn is not None or bool(settling_node(terms, self._at_nodes[node]))
            if not alone:
                del self._at_nodes[node]
        for vmi in vmis:
            case, (state, raw) = case_of(vmi), look.vmis[str(vmi["metadata"]["uid"])]
            if raw is None:
                self._planned.pop(case, None)
                self.audited.passed[case] = state
                continue
            self._states[case] = state
            self._write(raw)
            self._looks[case].append(assemble(raw))
            expectation = terms.expect(manifest_of(vmi))
            if raw.torn or settling(terms, self._looks[case], expectation, RUNNING):
                again.append(vmi)
            else:
                del self._looks[case]
        return again if again or alone else None

    def _write(self, raw: RawSnapshot) -> None:
        bundle.write_snapshot(self._directory, self._redaction.snapshot(raw))

    def write(self, meter: Meter | None = None) -> None:
        """Writes ``run.json`` as it is by now."""
        run, audited = self._run, self.audited
        # Those of one node together: they share what was seen of it.
        planned = sorted(self._planned.values(), key=lambda vmi: (_node_of(vmi), case_of(vmi)))
        audited.vmis = [case_of(vmi) for vmi in planned]
        run["cases"] = [
            {
                "id": case_of(vmi),
                "title": f"VMI {case_of(vmi)}, as it was found: {self._states[case_of(vmi)]}",
                "manifest": manifest_of(vmi),
            }
            for vmi in planned
        ]
        run["unjudged"] = [
            {"what": case, "why": f"the VMI was found {state}"}
            for case, state in sorted(audited.passed.items())
        ]
        run["audit"]["nodes"] = [node_case(name) for name in audited.nodes]
        run["capabilities"] |= _hardware(self._hardware.values())
        if meter is not None:
            run["audit"]["cost"] = meter.recorded()
        bundle.write_run(self._directory, self._redaction.run(run))


def _hardware(nodes: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """Whether any node that was looked at has several threads a core, or NUMA nodes."""
    siblings, cells = False, False
    for files in nodes:
        siblings |= any(
            path.endswith("/thread_siblings_list") and not text.strip().isdecimal()
            for path, text in files.items()
        )
        cells |= sum(path.endswith("/cpulist") for path in files) > 1
    return {
        SMT: {"available": siblings, "reason": "threads a core of the nodes that were read"},
        NUMA: {"available": cells, "reason": "NUMA nodes of the nodes that were read"},
    }
