"""What is made once and kept."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from clusters.contract.provider import ClusterError
from clusters.host import cache, checksums


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "cpu-conformance"


def kept(name: str, make: Callable[[Path], None], need_mib: int = 1) -> Path:
    return cache.kept(name, make, what="the thing", need_mib=need_mib, progress=lambda _line: None)


def test_a_thing_is_made_once() -> None:
    made: list[Path] = []

    def make(directory: Path) -> None:
        made.append(directory)
        (directory / "content").write_text("x")

    first, second = kept("thing-1", make), kept("thing-1", make)

    assert first == second
    assert (first / "content").read_text() == "x"
    assert len(made) == 1


def test_runs_at_the_same_time_make_it_once() -> None:
    made: list[Path] = []
    began = threading.Event()
    go_on = threading.Event()
    told = threading.Event()

    def make(directory: Path) -> None:
        made.append(directory)
        began.set()
        assert go_on.wait(30)

    def second() -> None:
        cache.kept("thing-1", make, what="x", need_mib=1, progress=lambda _line: told.set())

    threads = [threading.Thread(target=kept, args=("thing-1", make))]
    threads[0].start()
    assert began.wait(30)
    threads.append(threading.Thread(target=second))
    threads[1].start()
    assert told.wait(30), "the second is told that it waits"
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_what_could_not_be_made_leaves_nothing(cache_home: Path) -> None:
    def make(directory: Path) -> None:
        (directory / "half").touch()
        raise ClusterError("no network")

    with pytest.raises(ClusterError, match="no network"):
        kept("thing-1", make)
    assert [path for path in cache_home.iterdir() if path.is_dir()] == []


def test_what_a_killed_run_left_is_removed(cache_home: Path) -> None:
    cache.directory()
    left = cache_home / ".thing-1.abandoned"
    left.mkdir()
    (left / "file").touch()
    kept("thing-1", lambda _directory: None)
    assert not left.exists()


def test_only_the_last_used_of_a_kind_remain(cache_home: Path) -> None:
    for number in range(cache.KEPT + 3):
        kept(f"thing-{number:02}", lambda _directory: None)
        kept("thing-00", lambda _directory: None)
    kept("other-1", lambda _directory: None)
    names = sorted(path.name for path in cache_home.glob("thing-*"))
    assert len(names) == cache.KEPT
    assert "thing-00" in names


def test_a_full_disk_is_said_before_anything_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(0, 0, 5 << 20))
    with pytest.raises(ClusterError, match=r"the thing needs 10 MiB, and .* has 5 MiB free"):
        kept("thing-1", lambda _directory: pytest.fail("tried"), need_mib=10)


def test_the_key_depends_on_every_part_and_its_bounds() -> None:
    assert cache.key(["ab", "c"]) == cache.key([b"ab", b"c"])
    assert len({cache.key(parts) for parts in (["ab", "c"], ["a", "bc"], ["c", "ab"])}) == 3


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    status = file.stat()
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_what_is_damaged_is_made_again_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def make(directory: Path) -> None:
        (directory / "deep").mkdir()
        (directory / "deep" / "image").write_bytes(b"sound")

    def ask() -> Path:
        path = cache.kept("thing-1", make, what="the thing", need_mib=1, progress=said.append)
        return path / "deep" / "image"

    flip(ask())
    assert ask().read_bytes() == b"sound"
    assert len(said) == 1
    assert "is not what was written there, and is made anew" in said[0]
    ask()
    assert len(said) == 1
    ask().unlink()
    assert ask().read_bytes() == b"sound"
    assert len(said) == 2


def test_it_is_read_again_after_each_start_of_the_machine_only(
    cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    of = checksums.of

    def counting(path: Path) -> dict[str, str]:
        read.append(path)
        return of(path)

    def make(directory: Path) -> None:
        (directory / "content").write_text("x")

    kept("thing-1", make)
    monkeypatch.setattr(checksums, "of", counting)
    kept("thing-1", make)
    assert not read
    (cache_home / "boot").write_text("another")
    monkeypatch.setattr(cache, "BOOT_ID", cache_home / "boot")
    kept("thing-1", make)
    kept("thing-1", make)
    assert len(read) == 1


def test_what_an_older_version_kept_without_checksums_is_made_again(cache_home: Path) -> None:
    cache.directory()
    (cache_home / "thing-1").mkdir()
    (cache_home / "thing-1" / "content").write_text("old")
    path = kept("thing-1", lambda directory: (directory / "content").touch())
    assert (path / "content").read_text() == ""


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_a_directory_that_others_may_write_to_is_refused(cache_home: Path, mode: int) -> None:
    cache.directory().chmod(mode)
    with pytest.raises(ClusterError, match=f"others may write to .*mode {mode:03o}"):
        kept("thing-1", lambda _directory: pytest.fail("tried"))
    cache_home.chmod(0o755)
    kept("thing-1", lambda _directory: None)


def test_a_directory_of_somebody_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = cache.directory().stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.raises(ClusterError, match=f"belongs to user {owner}"):
        cache.directory()


def test_a_place_that_cannot_be_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ClusterError, match=r"cannot be made .*: point XDG_CACHE_HOME"):
        cache.directory()


def test_a_disk_that_fills_up_meanwhile_is_said() -> None:
    def make(_directory: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ClusterError, match=r"the thing cannot be kept in .*No space left"):
        kept("thing-1", make)
