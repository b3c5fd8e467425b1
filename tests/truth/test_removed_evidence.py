"""What is taken away of evidence makes nothing broken, and nothing kept.

Each test takes another part away, in every place or in places that a seed chooses.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.collecting.bundle import BundleError
from tests.selfproof import recording as good
from tests.truth.evidence import Evidence

Verdicts = dict[tuple[str, str], str]


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    return Evidence(tmp_path / "evidence")


@pytest.fixture
def broken(tmp_path: Path) -> Evidence:
    """The same with a violation of many requirements: a stolen CPU, a quota, a wrong pin."""
    evidence = Evidence(tmp_path / "broken")

    def spoil(data: list[Any]) -> None:
        files = data[1]
        for path in files:
            if path.endswith("cpu.max"):
                files[path] = "100000 100000\n"
            if path.startswith("/proc/"):
                files[path] = files[path].replace("Cpus_allowed_list:\t2", "Cpus_allowed_list:\t0")
        state = json.loads(files[good.CHECKPOINT])
        state["entries"].setdefault(good.OTHER_UID, {})["compute"] = "2-4"
        files[good.CHECKPOINT] = json.dumps(state)

    evidence.change("nodes", spoil)
    assert list(evidence.verdicts().values()).count("fail") >= 3
    return evidence


def require_nothing_new(before: Verdicts, after: Verdicts, what: object) -> None:
    """Nor is a requirement broken that was not, unless the evidence was of something broken:
    what one witness says is held against what another one does.
    """
    broken = "fail" in before.values()
    for key, verdict in after.items():
        fine = {before.get(key), "not-observed", "not-applicable"} | ({"fail"} if broken else set())
        assert verdict in fine, (what, key)


def each_file(evidence: Evidence) -> Iterator[Path]:
    return (path for path in sorted(evidence.directory.rglob("*.json")) if path.name != "run.json")


@pytest.mark.parametrize("which", ["evidence", "broken"])
def test_any_file_may_be_gone_or_cut(which: str, request: pytest.FixtureRequest) -> None:
    evidence: Evidence = request.getfixturevalue(which)
    before, chance = evidence.verdicts(), random.Random(1)
    for path in each_file(evidence):
        kept = path.read_bytes()
        for size in (None, 0, chance.randrange(len(kept)), len(kept) - 2):
            if size is None:
                path.unlink()
            else:
                path.write_bytes(kept[:size])
            after = evidence.verdicts()
            require_nothing_new(before, after, (path.name, size))
            assert after != before
        path.write_bytes(kept)


@pytest.mark.parametrize("which", ["evidence", "broken"])
def test_any_member_of_a_snapshot_may_be_gone(which: str, request: pytest.FixtureRequest) -> None:
    evidence: Evidence = request.getfixturevalue(which)
    before = evidence.verdicts()
    for member in json.loads(evidence.file("snapshots").read_text()):
        kept = evidence.file("snapshots").read_text()
        evidence.change("snapshots", lambda data, member=member: without(data, member))  # type: ignore[misc]
        require_nothing_new(before, evidence.verdicts(), member)
        evidence.directory.joinpath("snapshots").mkdir(exist_ok=True)
        next((evidence.directory / "snapshots").glob("demo.running.*")).write_text(kept)


def without(data: dict[str, Any], member: str) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != member}


def emptied(data: list[Any], path: str) -> None:
    data[1][path] = ""


def removed(data: list[Any], path: str) -> None:
    del data[1][path]


@pytest.mark.parametrize("which", ["evidence", "broken"])
@pytest.mark.parametrize("take", [removed, emptied])
def test_any_file_of_a_node_may_be_gone_or_empty(
    which: str, take: Callable[[list[Any], str], None], request: pytest.FixtureRequest
) -> None:
    evidence: Evidence = request.getfixturevalue(which)
    before = evidence.verdicts()
    kept = evidence.file("nodes").read_text()
    for path in json.loads(kept)[1]:
        evidence.change("nodes", lambda data, path=path: take(data, path))  # type: ignore[misc]
        require_nothing_new(before, evidence.verdicts(), path)
        evidence.file("nodes").write_text(kept)


def spoilt(text: bytes, chance: random.Random) -> bytes:
    """A text with bytes flipped, or parts of it removed, doubled or exchanged."""
    data = bytearray(text)
    for _ in range(chance.choice((1, 2, 8))):
        start = chance.randrange(len(data))
        end = min(len(data), start + chance.randrange(1, 60))
        match chance.randrange(4):
            case 0:
                data[start] ^= 1 << chance.randrange(8)
            case 1:
                del data[start:end]
            case 2:
                data[start:start] = data[start:end]
            case _:
                token = chance.choice((b"null", b"[]", b"{}", b"-1", b'"x"', b"1e400", b"9" * 30))
                data[start : start + 1] = token
        if not data:
            break
    return bytes(data)


SWAPS: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**30,
    0.5,
    "",
    "x",
    [],
    {},
    [None],
    {"x": None},
    [[]],
    "0-8191",
)


def swapped(value: Any, chance: random.Random) -> Any:
    """A JSON value with one value in it, at any depth, exchanged for one of another type."""
    if isinstance(value, dict | list) and value and chance.random() < 0.85:
        key: Any = chance.choice(list(value)) if isinstance(value, dict) else 0
        if isinstance(value, list):
            key = chance.randrange(len(value))
        value[key] = swapped(value[key], chance)
        return value
    return copy.deepcopy(chance.choice(SWAPS))


@pytest.mark.parametrize("seed", range(8))
def test_spoilt_evidence_never_breaks_the_judge(evidence: Evidence, seed: int) -> None:
    """What is changed may say anything: a verdict or a clear error, but no exception."""
    chance = random.Random(seed)
    paths = [*each_file(evidence), evidence.file("run.json")]
    for _ in range(12):
        path = chance.choice(paths)
        kept = path.read_bytes()
        if chance.random() < 0.5:
            path.write_bytes(spoilt(kept, chance))
        else:
            path.write_text(json.dumps(swapped(json.loads(kept), chance)))
        try:
            document = evidence.judged()
        except BundleError:
            assert path.name == "run.json"
        else:
            assert not [each for each in document.problems if each.during == "judging"]
        path.write_bytes(kept)
