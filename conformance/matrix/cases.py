"""Cases: a manifest, the sentence that it stands for, and what the oracle expects of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conformance.matrix.manifests import Images, Wish, vmi
from conformance.matrix.oracle import expect
from conformance.model.expectation import Expectation

NAME_LENGTH = 40
"""Longest name of a VMI: its launcher pod's name is longer and must fit 63 characters."""


@dataclass(frozen=True)
class Case:
    """One VMI to be tried.

    Attributes:
        id: unique in its matrix; letters, digits and dashes.
        title: a sentence without its full stop.
        manifest: the VMI, without a namespace.
        expectation: what the oracle says about it.
        tags: for selection, such as ``admitted``, ``refused``, ``isolate``.
    """

    id: str
    title: str
    manifest: Mapping[str, Any]
    expectation: Expectation
    tags: frozenset[str]

    @property
    def name(self) -> str:
        """The name of its VMI."""
        return str(self.manifest["metadata"]["name"])


def case(
    id: str, title: str, wish: Wish, *, profile: str = "v1", images: Images | None = None
) -> Case:
    """The case of a wish."""
    return of_manifest(id, title, vmi(vmi_name(id), wish, profile=profile, images=images), profile)


def of_manifest(id: str, title: str, manifest: Mapping[str, Any], profile: str) -> Case:
    """The case of a manifest."""
    expectation = expect(manifest, profile)
    return Case(id, title, manifest, expectation, tags(expectation))


def vmi_name(id: str) -> str:
    """A DNS-1123 label for a case id; long ids are cut and told apart by a digest."""
    if len(id) <= NAME_LENGTH:
        return id
    digest = hashlib.sha256(id.encode()).hexdigest()[:6]
    return f"{id[: NAME_LENGTH - 7].rstrip('-')}-{digest}"


def tags(expectation: Expectation) -> frozenset[str]:
    """What a case can be selected by, all of it from its expectation."""
    if expectation.refusal is not None:
        return frozenset({"refused", *expectation.refusal.rule.split("+")})
    marks = {
        "dedicated": expectation.dedicated,
        "shared": not expectation.dedicated,
        "isolate": expectation.isolate_emulator,
        "iothreads": expectation.iothreads_policy != "none",
        "sidecars": bool(expectation.sidecars),
        "smt": expectation.threads == 2,
        "numa": expectation.numa_passthrough,
    }
    return frozenset({"admitted", *(mark for mark, holds in marks.items() if holds)})
