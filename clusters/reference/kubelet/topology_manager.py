"""The topology manager: on which NUMA nodes a pod or a container gets what it asks for.

kubernetes pkg/kubelet/cm/topologymanager (policy*.go, scope_*.go), without policy options.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clusters.contract.cpuset import CpuSet

NONE, BEST_EFFORT, RESTRICTED = "none", "best-effort", "restricted"
SINGLE_NUMA_NODE = "single-numa-node"
POD_SCOPE = "pod"
MOST_NODES = 8
"""The default of ``max-allowable-numa-nodes``: with more a kubelet refuses to start."""


@dataclass(frozen=True)
class Hint:
    """NUMA nodes on which a request can be met.

    Attributes:
        nodes: None where it does not matter.
        preferred: whether no fewer nodes could be enough.
    """

    nodes: CpuSet | None
    preferred: bool


Hints = Sequence[Sequence[Hint]]
"""What a provider says, for each of its resources: nothing means that it does not matter, an
empty sequence that the request cannot be met."""

_ANYWHERE = Hint(None, True)
_NOWHERE = Hint(None, False)


def masks(nodes: CpuSet) -> Iterator[CpuSet]:
    """Every combination of nodes, small ones first."""
    for size in range(1, len(nodes) + 1):
        yield from map(frozenset, itertools.combinations(sorted(nodes), size))


def merge(policy: str, nodes: CpuSet, providers: Sequence[Hints]) -> tuple[Hint, bool]:
    """The best of all hints together, and whether the policy admits it.

    Args:
        policy: any but ``none``.
        nodes: every NUMA node of the machine.
        providers: what each of them says.
    """
    hints: list[Sequence[Hint]] = []
    for provider in providers:
        hints += [each or (_NOWHERE,) for each in provider] or [(_ANYWHERE,)]
    if policy == SINGLE_NUMA_NODE:
        hints = [[hint for hint in each if _single(hint)] for each in hints]
    narrowest = (
        min((len(hint.nodes) for hint in each if hint.nodes is not None), default=0)
        for each in hints
    )
    fewest = max(narrowest, default=0)
    best: Hint | None = None
    for permutation in itertools.product(*hints):
        best = _better(best, _together(nodes, permutation), fewest)
    best = best or Hint(nodes, False)
    if policy == SINGLE_NUMA_NODE and best.nodes == nodes:
        best = Hint(None, best.preferred)
    return best, policy == BEST_EFFORT or best.preferred


def _single(hint: Hint) -> bool:
    return hint.preferred and (hint.nodes is None or len(hint.nodes) == 1)


def _together(nodes: CpuSet, permutation: Sequence[Hint]) -> Hint:
    bound = [hint.nodes for hint in permutation if hint.nodes is not None]
    preferred = all(hint.preferred for hint in permutation) and len(set(bound)) <= 1
    return Hint(nodes.intersection(*bound), preferred)


def _better(current: Hint | None, candidate: Hint, fewest: int) -> Hint | None:
    """The better of two.

    Of those that are not preferred it is the one whose number of nodes is nearest to, but not
    above, what the most demanding resource needs.
    """
    assert candidate.nodes is not None
    if not candidate.nodes:
        return current
    if current is None:
        return candidate
    assert current.nodes is not None
    if current.preferred != candidate.preferred:
        return candidate if candidate.preferred else current
    now, then = len(current.nodes), len(candidate.nodes)
    if current.preferred or now > fewest or now == then:
        return candidate if _width(candidate.nodes) < _width(current.nodes) else current
    if now == fewest or then > fewest:
        return current
    return candidate if then == fewest or then > now else current


def _width(nodes: CpuSet) -> tuple[int, int]:
    return len(nodes), sum(1 << node for node in nodes)
