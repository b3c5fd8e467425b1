"""Which function judges which requirement, and when it applies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from conformance.checks.comparison import Comparison, NotApplicable, Unobserved
from conformance.model.defect import defect
from conformance.model.evidence import Snapshot, Story
from conformance.model.expectation import Expectation
from conformance.model.finding import Finding, Verdict

Judge = Callable[[Snapshot, Expectation, Comparison], str]
"""Compares; returns the sentence that holds when there was nothing to object to. Pure."""

Applies = Callable[[Expectation], bool]
"""Whether a requirement has anything to say about a case, from its expectation alone."""


class Loop(Enum):
    """What makes come true, after a while, what a requirement that settles asks for.

    An objection counts only when its loop was seen to have run since
    (`conformance.judging.loops`); no time alone breaks a promise.
    """

    HEARTBEAT = "virt-handler's heartbeat, which writes the labels of a node"
    RECONCILE = "the kubelet's reconcile, which moves containers that run already"
    LABELLER = "virt-handler's node labeller, which goes over the labels of a node"
    SWEEP = "virt-handler moving threads into the housekeeping cgroup"
    REMOVAL = "the kubelet's removal of what has ended"
    ARRIVAL = "what a requirement waits for, and is not observed before it has come"
    """A guest's report, a VMI that starts: what has come and is wrong stays wrong."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        moment: the moment of the snapshots that it judges: ``running``, ``refused``,
            ``deleted``, ...
        settles: by what it comes true after a while, so that the last snapshot counts. Otherwise
            it must hold at every moment, and a violation in any snapshot counts.
        look: what to look at next when it fails; one sentence.
        unstarted: whether it says something of a VMI or pod that does not run: one that its node
            rightly rejected, or that still starts.
        nodes: whether it is judged of every node of the cluster as well, whoever runs there.
        whole_nodes: whether it is so of nodes of which everything was read, as an audit does.
        node_alone: whether what an audit finds is told of the node alone: a VMI that somebody has
            is not at fault for what does not touch it.
    """

    requirement: str
    moment: str
    applies: Applies
    settles: Loop | None
    look: str
    compare: Judge
    unstarted: bool = False
    nodes: bool = False
    whole_nodes: bool = False
    node_alone: bool = False

    def judge(self, snapshot: Snapshot, expectation: Expectation) -> Finding:
        """Judges one snapshot: exactly one finding, whatever the snapshot holds."""
        return _finding(
            self.requirement, self.look, lambda seen: self.compare(snapshot, expectation, seen)
        )


StoryJudge = Callable[[Story, Comparison], str]
"""Compares what a scenario recorded; as `Judge` otherwise. Pure."""


@dataclass(frozen=True)
class StoryCheck:
    """One check of a requirement that takes a scenario to show.

    Attributes:
        scenario: id of the scenario whose record it judges.
        look: what to look at next when it fails; one sentence.
        settles: by what it comes true after a while, so that a moment may be looked at again.
            Otherwise each moment is looked at once, but for what the ordinary checks wait for.
    """

    requirement: str
    scenario: str
    look: str
    compare: StoryJudge
    settles: Loop | None = None

    def judge(self, story: Story) -> Finding:
        """Judges the record of one scenario: exactly one finding, whatever it holds."""
        return _finding(self.requirement, self.look, lambda seen: self.compare(story, seen))


def _finding(requirement: str, look: str, compare: Callable[[Comparison], str]) -> Finding:
    comparison = Comparison()
    try:
        kept = compare(comparison)
    except NotApplicable as reason:
        if not comparison.objected:
            notes = comparison.notes
            return Finding(requirement, Verdict.NOT_APPLICABLE, str(reason), notes=notes)
        kept = ""
    except Unobserved as reason:
        comparison.missing(str(reason))
        kept = ""
    except Exception as error:
        return broken(requirement, error)
    return comparison.finding(requirement, kept, look)


def broken(requirement: str, error: Exception) -> Finding:
    """The finding of a judge that broke: never a word about the cluster."""
    return Finding(requirement, Verdict.ERROR, defect(error))


_CHECKS: dict[str, Check] = {}
_STORIES: dict[tuple[str, str], StoryCheck] = {}


def check(
    requirement: str,
    *,
    moment: str,
    applies: Applies,
    look: str,
    settles: Loop | None = None,
    unstarted: bool = False,
    nodes: bool = False,
    whole_nodes: bool = False,
    node_alone: bool = False,
) -> Callable[[Judge], Judge]:
    """Registers the decorated function as the judge of a requirement; see `Check`."""

    def register(judge: Judge) -> Judge:
        if requirement in _CHECKS:
            raise ValueError(f"two checks judge {requirement}")
        _CHECKS[requirement] = Check(
            *(requirement, moment, applies, settles, look, judge),
            unstarted=unstarted,
            nodes=nodes,
            whole_nodes=whole_nodes,
            node_alone=node_alone,
        )
        return judge

    return register


def told(
    requirement: str, *scenarios: str, look: str, settles: Loop | None = None
) -> Callable[[StoryJudge], StoryJudge]:
    """Registers the decorated function as the judge of a requirement in scenarios."""

    def register(judge: StoryJudge) -> StoryJudge:
        for scenario in scenarios:
            if (requirement, scenario) in _STORIES:
                raise ValueError(f"two checks judge {requirement} in {scenario}")
            _STORIES[requirement, scenario] = StoryCheck(
                requirement, scenario, look, judge, settles
            )
        return judge

    return register


def stories() -> Iterable[StoryCheck]:
    """Every registered check of a scenario; import `conformance.checks.all` first."""
    return tuple(_STORIES.values())


def registered() -> Mapping[str, Check]:
    """Every registered check by requirement id; import `conformance.checks.all` first."""
    return dict(_CHECKS)


def admitted(expectation: Expectation) -> bool:
    """For everything that must be admitted, plain pods too."""
    return expectation.admitted


def dedicated(expectation: Expectation) -> bool:
    """For everything with CPUs of its own, plain pods too."""
    return expectation.admitted and expectation.dedicated


def admitted_vmi(expectation: Expectation) -> bool:
    """For VMIs that must be admitted."""
    return expectation.admitted and expectation.guest


def dedicated_vmi(expectation: Expectation) -> bool:
    """For VMIs with dedicated CPUs."""
    return dedicated(expectation) and expectation.guest


def isolated(expectation: Expectation) -> bool:
    """For VMIs with dedicated CPUs and an isolated emulator thread."""
    return dedicated_vmi(expectation) and expectation.isolate_emulator
