"""Whatever a user's file holds, or evidence says of one: an answer, or a clear refusal."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from conformance.matrix.documents import MatrixFileError
from conformance.matrix.files import user_file
from conformance.matrix.oracle import expect
from conformance.model.expectation import Expectation

MACHINES = list(yaml.safe_load_all((Path(__file__).parent / "users_machines.yaml").read_text()))
OBJECTS = [
    obj
    for document in MACHINES
    for obj in (document["items"] if document["kind"] == "List" else [document])
]
TYPES = [obj for obj in OBJECTS if obj["apiVersion"].startswith("instancetype.")]
ANYTHING: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 3, 2.5, "", "4", "x", [], [1], [{}], {}, {"a": None}, {"name": 3}]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    keys = (
        value.keys()
        if isinstance(value, dict)
        else range(len(value))
        if isinstance(value, list)
        else ()
    )
    for key in keys:
        yield from places(value[key], (*path, key))


def with_other(obj: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(obj)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


@st.composite
def spoilt(draw: st.DrawFn) -> dict[str, Any]:
    """One of the objects, in which one value is something else."""
    obj = draw(st.sampled_from(OBJECTS))
    return with_other(obj, draw(st.sampled_from(list(places(obj)))), draw(ANYTHING))


@given(spoilt(), spoilt())
def test_the_oracle_answers_to_any_object(manifest: dict[str, Any], other: dict[str, Any]) -> None:
    if manifest.get("kind") == "Pod":
        return
    assert isinstance(expect(manifest, beside=(other, *TYPES)), Expectation)


@given(st.lists(spoilt(), min_size=1, max_size=3))
def test_a_file_is_read_or_refused(objects: list[dict[str, Any]]) -> None:
    text = "\n---\n".join(map(json.dumps, objects))
    with contextlib.suppress(MatrixFileError):
        found = user_file([("mine.yaml", text)])
        assert found.cases
        json.dumps([case.manifest for case in found.cases])
