"""What a run would create, and from which images, without a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from clusters.existing.claims import own_namespace
from clusters.kit.marks import Mark
from conformance.cases_by_name import chosen
from conformance.matrix.manifests import Images

Json = Mapping[str, Any]

_IN_ANNOTATION = re.compile(r'"image"\s*:\s*"([^"]+)"')
"""Hook sidecars are listed in an annotation, as JSON."""


def objects(
    matrix: str, profile: str, images: Images, mark: Mark, given: str | None = None
) -> Iterator[Json]:
    """Everything that a run of a matrix creates, its namespace first unless that is given.

    What is expected to be refused is among it: it is sent, and would not be stored. Scenarios
    create what their stories say, in the same namespace.

    Raises ValueError as `chosen`.
    """
    found = chosen(matrix, profile, images)
    namespace = given or own_namespace(mark.run)
    if given is None:
        yield mark.on({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    for each in (*found.helpers, *(case.manifest for case in found.cases)):
        metadata = {**(each.get("metadata") or {}), "namespace": namespace}
        yield mark.on({**each, "metadata": metadata})


def image_names(found: Iterable[Json]) -> list[str]:
    """The images that objects name, sorted, for whoever has to mirror them."""
    return sorted({name for each in found for name in _images(each)})


def _images(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key == "image" and isinstance(each, str):
                yield each
            elif isinstance(each, str):
                yield from _IN_ANNOTATION.findall(each)
            else:
                yield from _images(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _images(each)
