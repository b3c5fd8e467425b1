"""The matrices by name."""

from __future__ import annotations

from functools import lru_cache

from conformance.matrix.axes import FULL, STANDARD, Breadth, axes, case_id, constraints, title, wish
from conformance.matrix.cases import Case, case, of_manifest
from conformance.matrix.covering import covering_array
from conformance.matrix.manifests import Images
from conformance.matrix.mapped import MAPPED
from conformance.matrix.pods import PODS, pod
from conformance.matrix.smoke import smoke
from conformance.matrix.today import EXAMPLES, MORE
from conformance.matrix.violations import paired, single
from conformance.model.vocabulary import CURRENT, V1, V1ALPHA2

NAMES = ("smoke", "standard", "full", "pods", "scenarios")

DEFAULT_CPUS = 10
"""Exclusive CPUs of the default node: 2 sockets x 3 cores x 2 threads, 2 reserved."""


@lru_cache(maxsize=8)
def matrix(
    name: str, profile: str = V1, images: Images | None = None, *, cpus: int = DEFAULT_CPUS
) -> tuple[Case, ...]:
    """The cases of a matrix, the same in the same order every time; admitted ones first.

    Args:
        name: ``smoke``: one example of everything; ``standard``: every pair of values, NUMA
            nodes mapped, every rule violated alone and with another; ``full``: every triple
            of values, every pair of rules; ``pods``: plain pods, for a cluster without KubeVirt;
            ``scenarios``: none, for those who want the scenarios alone.
        profile: what it is judged by.
        images: names that the manifests refer to.
        cpus: exclusive CPUs of the largest node; no generated VMI needs more.

    Raises:
        ValueError: there is no such matrix.
    """
    if name == "smoke":
        return smoke(profile, images)
    if name == "standard":
        return (*_valid(STANDARD, profile, images, cpus), *_invalid(profile, images, all=False))
    if name == "full":
        return (*_valid(FULL, profile, images, cpus), *_invalid(profile, images, all=True))
    if name == "scenarios":
        return ()
    if name == "pods":
        return tuple(
            of_manifest(name, title, pod(name, resources, beside=beside, images=images), profile)
            for name, (title, resources, beside) in PODS.items()
        )
    raise ValueError(f"there is no matrix {name!r}; choose one of {', '.join(NAMES)}")


def _valid(breadth: Breadth, profile: str, images: Images | None, cpus: int) -> tuple[Case, ...]:
    rows = covering_array(
        axes(profile, breadth, cpus), constraints(profile, cpus), strength=breadth.strength
    )
    others = [
        case(*each, profile=profile, images=images)
        for each in (
            *(() if profile == V1ALPHA2 else MAPPED),
            *((*EXAMPLES, *MORE) if profile == CURRENT else ()),
        )
    ]
    return (
        *(
            case(case_id(row), title(row), wish(row), profile=profile, images=images)
            for row in rows
        ),
        *(each for each in others if each.expectation.compute_cpus < cpus),
    )


def _invalid(profile: str, images: Images | None, *, all: bool) -> tuple[Case, ...]:
    return (*single(profile, images), *paired(profile, images, all=all))
