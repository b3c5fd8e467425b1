"""Where clusters are found again."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusters.contract.provider import ClusterError, Handle
from clusters.host import processes, rundir

pytestmark = pytest.mark.usefixtures("runtime")


def handle(name: str, directory: Path) -> Handle:
    return Handle("simulated", name, str(directory), str(directory / "kubeconfig"))


def test_a_cluster_is_found_by_its_name_until_it_is_removed() -> None:
    directory = rundir.create("one")
    rundir.write_handle(directory, handle("one", directory))
    assert rundir.find("one") == handle("one", directory)
    with pytest.raises(ClusterError, match="there already"):
        rundir.create("one")
    rundir.remove(directory)
    with pytest.raises(ClusterError, match="no cluster named 'one'"):
        rundir.find("one")


def test_a_place_too_long_for_sockets_is_told_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 80)))
    (tmp_path / ("x" * 80)).mkdir()
    with pytest.raises(ClusterError, match="set XDG_RUNTIME_DIR to a shorter one"):
        rundir.create("one")


def test_a_cluster_that_goes_while_they_are_listed_is_no_error() -> None:
    for name in ("one", "two"):
        directory = rundir.create(name)
        rundir.write_handle(directory, handle(name, directory))
    found = rundir.handles()
    assert next(found).name == "one"
    rundir.remove(rundir.base() / "two")
    assert list(found) == []


def test_a_directory_without_a_handle_is_an_orphan_once_its_maker_is_gone() -> None:
    directory = rundir.create("one")
    assert list(rundir.orphans()) == []
    (directory / rundir.CREATOR).write_text(processes.identity(0))
    assert list(rundir.orphans()) == [directory]


def test_a_place_for_sockets_is_left_behind_by_nobody() -> None:
    with rundir.sockets() as name:
        place = Path(name)
        assert list(rundir.orphans()) == []
        (place / rundir.CREATOR).write_text(processes.identity(0))
        assert list(rundir.orphans()) == [place]
    assert not place.exists()


@pytest.mark.parametrize("name", ["", "UP", "a/b", "-a", "a" * 33])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="cannot name a cluster"):
        rundir.create(name)
