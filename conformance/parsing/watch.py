"""What the sampler of a node printed; `clusters.kit.sampler` says what each line means.

Its times are the node's uptime. Words that the harness said and heard again tell which time of its
own that was: a word is heard after it was said and before its echo came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from conformance.model.cpuset import CpuSet
from conformance.model.watch import Given, Looks, Seen, Watch, Watched, WatchedCgroup, WatchedThread
from conformance.parsing import kubelet
from conformance.parsing.cgroups import MOUNT
from conformance.parsing.cpulist import cpulist
from conformance.parsing.errors import ParseError
from conformance.parsing.layers import Layers

T = TypeVar("T")

FORM = "1"
_LONGEST_TIME = 10**13
"""Of milliseconds since 1970, in 316 years; uptimes are shorter."""
_MOST = 200_000
"""Threads or cgroups of one sampler."""
_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)


def watched(text: str, node: str, source: str) -> Watched:
    """Reads a file of the evidence; what comes after a line that is not understood is left out.

    Args:
        text: of the file.
        node: whose it is.
        source: name of the file.
    """
    watches: list[Watch] = []
    raw: _Raw | None = None
    unread = ""
    lines = text.split("\n")
    # The last line may be half one.
    whole, rest = lines[:-1], lines[-1]
    try:
        for number, line in enumerate(whole, 1):
            try:
                if line.startswith("w "):
                    watches += _finished(raw, source)
                    raw = _Raw()
                    _require_form(line)
                elif line.startswith("! "):
                    if raw is not None:
                        raw.ending = line.split(" ", 2)[2]
                    watches += _finished(raw, source)
                    raw = None
                else:
                    _take(raw, line)
            except (ValueError, LookupError, ParseError) as error:
                raise ParseError(f"line {number}: {error}", line[:200], source) from error
    except ParseError as error:
        unread = str(error)
    else:
        unread = f"{source} breaks off in the middle of a line" if rest else ""
    watches += _finished(raw, source)
    return Watched(node, tuple(watches), unread)


def _take(raw: _Raw | None, line: str) -> None:
    if raw is None:
        raise ParseError("a line that says what comes", line, "")
    raw.take(line)


def _require_form(line: str) -> None:
    if line.split(" ")[1:2] != [FORM]:
        raise ParseError(f"form {FORM} of a sampler", line, "")


@dataclass
class _Track:
    """What is seen of one thread or cgroup, by the kind of line."""

    name: str
    cgroup: str = ""
    values: dict[str, list[tuple[int, str]]] = field(default_factory=dict)


@dataclass
class _Raw:
    """What one sampler printed so far; times are the node's."""

    groups: list[_Track] = field(default_factory=list)
    threads: list[_Track] = field(default_factory=list)
    states: list[tuple[int, str]] = field(default_factory=list)
    looks: list[tuple[int, int, int, int]] = field(default_factory=list)
    words: list[tuple[int, int, int]] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    ending: str = ""
    _groups: dict[str, _Track] = field(default_factory=dict)
    _threads: dict[str, _Track] = field(default_factory=dict)

    def take(self, line: str) -> None:
        """Raises ValueError, LookupError for what no sampler prints."""
        kind, _, rest = line.partition(" ")
        match kind:
            case "C":
                number, path = rest.split(" ", 1)
                if not path.startswith(f"{MOUNT}/"):
                    raise ValueError("a cgroup is below the mount point")
                self._groups[number] = _Track(path[len(MOUNT) :])
                self.groups.append(self._groups[number])
            case "T":
                tid, number, name = rest.split(" ", 2)
                cgroup = self._groups[number].name if number in self._groups else ""
                track = self._threads.get(tid)
                called = f"{_number(tid)} {name}"
                if track is None or track.name != called:
                    track = self._threads[tid] = _Track(called)
                    self.threads.append(track)
                track.cgroup = cgroup
            case "=":
                at, sent, received = map(_number, rest.split(" "))
                self.words.append((at, sent, received))
                self.times.append(at)
            case "l":
                at, looks, gap, cost = map(_number, rest.split(" "))
                self.looks.append((at, looks, gap, cost))
                self.times.append(at)
            case "k":
                at_, text = rest.split(" ", 1)
                self.states.append((_number(at_), text))
            case "c" | "q":
                self._value(self._groups, kind, rest)
            case "a" | "s" | "d":
                self._value(self._threads, kind, rest)
            case _:
                raise ValueError("no sampler prints that")
        if max(len(self.groups), len(self.threads)) > _MOST:
            raise ValueError("no node has so many threads or cgroups")

    def _value(self, tracks: Mapping[str, _Track], kind: str, rest: str) -> None:
        at, key, value = rest.split(" ", 2)
        time, track = _number(at), tracks[key]
        if value != "-":
            _ = cpulist(value, "") if kind in "ca" else _number(value)
        track.values.setdefault(kind, []).append((time, value))
        self.times.append(time)
        if kind == "a" and value == "-":
            del self._threads[key]


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > _LONGEST_TIME:
        raise ValueError(f"{text!r:.60} is no number")
    return int(text)


def _finished(raw: _Raw | None, source: str) -> list[Watch]:
    """A sampler that looked at least once and of which it is known when."""
    if raw is None or not raw.words or not raw.times:
        return []
    # The most that is known of the difference between both clocks, from both sides.
    least = max(sent / 1000 - at / 100 for at, sent, _received in raw.words)
    most = min(received / 1000 - at / 100 for at, _sent, received in raw.words)
    offset = (least + most) / 2 if least <= most else least

    def seen(track: _Track, kind: str, parse: Callable[[str], T]) -> tuple[Seen[T], ...]:
        return tuple(
            Seen(at / 100 + offset, None if value == "-" else parse(value))
            for at, value in track.values.get(kind, ())
        )

    def cpus(text: str) -> CpuSet:
        return cpulist(text, source)

    return [
        Watch(
            source,
            min(raw.times) / 100 + offset,
            max(raw.times) / 100 + offset,
            tuple(
                Looks(at / 100 + offset, looks, gap / 100, cost / 1000)
                for at, looks, gap, cost in raw.looks
            ),
            tuple(
                WatchedThread(
                    int(track.name.partition(" ")[0]),
                    track.name.partition(" ")[2],
                    track.cgroup,
                    seen(track, "a", cpus),
                    seen(track, "s", _number),
                    seen(track, "d", _number),
                )
                for track in raw.threads
            ),
            tuple(
                WatchedCgroup(track.name, seen(track, "c", cpus), seen(track, "q", _number))
                for track in raw.groups
            ),
            tuple(Seen(at / 100 + offset, _given(text)) for at, text in raw.states),
            raw.ending,
        )
    ]


def _given(text: str) -> Given | None:
    found = Layers({}).read("checkpoint", lambda: kubelet.checkpoint(text, "a checkpoint"))
    return Given(found.default, found.entries) if found else None
