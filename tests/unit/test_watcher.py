"""What a watcher writes down of what samplers print."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from clusters.contract.access import AccessError, ClusterAccess, Reading
from conformance.collecting.watcher import Watcher
from conformance.parsing.watch import watched

NODE = "node-1"


class Sampler:
    """Echoes each word, after half of one, until it is closed."""

    def __init__(self, *lines: str, breaks: str = "") -> None:
        self._lines = lines
        self._breaks = breaks
        self._said: queue.Queue[str | None] = queue.Queue()

    def lines(self) -> Iterator[str]:
        yield from self._lines
        if self._breaks:
            raise AccessError(self._breaks)
        at = 100
        while (word := self._said.get()) is not None:
            at += 10
            yield f"= {at} {word[3:]}"
            yield f"= {at} {word}"

    def say(self, word: str) -> None:
        self._said.put(word)

    def close(self) -> None:
        self._said.put(None)


class Access:
    """One node, whose samplers are these, one after the other."""

    nodes = (NODE,)
    kubelet_root = "/var/lib/kubelet"

    def __init__(self, *samplers: Sampler) -> None:
        self._samplers = [*samplers]
        self.first = ""
        self.closed = False

    def node_shell(self, node: str) -> Access:
        assert node == NODE
        return self

    def read(self, patterns: Sequence[str]) -> Reading:
        raise AssertionError(patterns)

    def list(self, patterns: Sequence[str]) -> tuple[str, ...]:
        assert "/sys/fs/cgroup/*kubepods*" in patterns
        return ("/sys/fs/cgroup/kubepods.slice", "/sys/fs/cgroup/a/kubepods.slice")

    def sample(self, first: str) -> Sampler:
        self.first = first
        if not self._samplers:
            raise AccessError("there is none")
        return self._samplers.pop(0)

    def close(self) -> None:
        self.closed = True


def text_of(evidence: Path) -> str:
    path = evidence / "watch" / f"{NODE}.log"
    return path.read_text() if path.exists() else ""


def test_what_is_printed_is_written_with_the_time_of_each_word(tmp_path: Path) -> None:
    access = Access(Sampler("w 1 alone", "C 1 /sys/fs/cgroup/kubepods.slice/a", "c 99 1 0-3"))
    watcher = Watcher(cast(ClusterAccess, cast(Any, access)), tmp_path)
    watcher.start()
    while "\n= " not in text_of(tmp_path):
        pass
    sizes = watcher.stop()
    text = text_of(tmp_path)
    assert sizes == {NODE: len(text)}
    assert access.closed
    lines = access.first.rpartition("#end\n")[2].split("\n")
    assert lines[0] == "/var/lib/kubelet/cpu_manager_state"
    assert any(line.startswith("/sys/fs/cgroup/a/kubepods.slice/") for line in lines)
    told = watched(text, NODE, "a file")
    assert told.unread == ""
    (watch,) = told.watches
    assert watch.ending == "it was stopped"
    assert watch.cgroups[0].path == "/kubepods.slice/a"
    words = [line.split(" ") for line in text.splitlines() if line.startswith("= ")]
    assert all(len(word) == 4 and word[2] <= word[3] for word in words)
    assert (tmp_path / "watch" / f"{NODE}.log").stat().st_mode & 0o777 == 0o600


def test_a_sampler_that_breaks_is_started_again_and_says_why(tmp_path: Path) -> None:
    broken = Sampler("w 1 alone", "n hostile", breaks="the connection\nbroke")
    access = Access(broken, Sampler("w 1 alone"))
    watcher = Watcher(cast(ClusterAccess, cast(Any, access)), tmp_path)
    watcher.start()
    while "\n= " not in text_of(tmp_path):
        pass
    watcher.stop()
    text = text_of(tmp_path)
    assert "the connection broke" in text
    assert text.count("w 1 alone") == 2


def test_a_node_that_cannot_be_watched_says_so(tmp_path: Path) -> None:
    watcher = Watcher(cast(ClusterAccess, cast(Any, Access())), tmp_path)
    watcher.start()
    while "there is none" not in text_of(tmp_path):
        pass
    watcher.stop()
    assert "there is none" in text_of(tmp_path)
    assert watched(text_of(tmp_path), NODE, "a file").watches == ()
