"""Cases: a manifest, the sentence that it stands for, and what the oracle expects of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conformance.matrix.manifests import Images, Wish, vmi
from conformance.matrix.oracle import expect
from conformance.model.expectation import Expectation
from conformance.model.vocabulary import V1

NAME_LENGTH = 40
"""Longest name of a VMI: its launcher pod's name is longer and must fit 63 characters."""


@dataclass(frozen=True)
class Case:
    """One VMI to be tried.

    Attributes:
        id: unique in its matrix; letters, digits and dashes.
        title: a sentence without its full stop.
        manifest: the VMI, or what makes it, without a namespace.
        expectation: what the oracle says about it.
        tags: for selection, such as ``admitted``, ``refused``, ``isolate``.
        beside: the instance types and preferences of its file that it names.
        namespace: in which a user has written it; empty where that is not said.
    """

    id: str
    title: str
    manifest: Mapping[str, Any]
    expectation: Expectation
    tags: frozenset[str]
    beside: tuple[Mapping[str, Any], ...] = ()
    namespace: str = ""

    @property
    def name(self) -> str:
        """The name of its manifest."""
        return str(self.manifest["metadata"]["name"])


def case(
    id: str, title: str, wish: Wish, *, profile: str = V1, images: Images | None = None
) -> Case:
    """The case of a wish."""
    return of_manifest(id, title, vmi(vmi_name(id), wish, profile=profile, images=images), profile)


def of_manifest(
    id: str,
    title: str,
    manifest: Mapping[str, Any],
    profile: str,
    *,
    beside: tuple[Mapping[str, Any], ...] = (),
    namespace: str = "",
) -> Case:
    """The case of a manifest."""
    expectation = expect(manifest, profile, beside=beside)
    return Case(id, title, manifest, expectation, tags(expectation), beside, namespace)


def vmi_name(id: str) -> str:
    """A DNS-1123 label for a case id."""
    return shortened(id, NAME_LENGTH)


def shortened(text: str, length: int) -> str:
    """A name of at most so many characters; long ones are cut and told apart by a digest."""
    if len(text) <= length:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    return f"{text[: length - 7].rstrip('-.')}-{digest}"


def tags(expectation: Expectation) -> frozenset[str]:
    """What a case can be selected by, all of it from its expectation."""
    if expectation.undecided is not None:
        return frozenset({"undecided"})
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
