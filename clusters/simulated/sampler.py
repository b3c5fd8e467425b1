"""What `clusters.kit.sampler` would print on a node that exists in memory.

Its time is this process's, and it looks ten times a second: nothing of it costs a node anything.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator

from clusters.contract import cpuset
from clusters.contract.cpuset import CpuSet
from clusters.kit.sampler import BYE, FORM
from clusters.simulated.kernel import Kernel
from clusters.simulated.kernel_objects import Cgroup, KernelError, Thread

LOOKS_APART = 0.1
"""Seconds."""
REPORT = 1000
"""Between two reports on the looks, hundredths of a second."""
_VCPU = re.compile(r"CPU \d+/")
_POD = re.compile(r"(?:.*-)?pod[0-9A-Za-z_-]+(?:\.slice)?")


def now() -> int:
    """The node's uptime, hundredths of a second."""
    return int(time.monotonic() * 100)


class Sampler:
    """A sampler of one kernel.

    Args:
        kernel: that is looked at.
        checkpoint: path of the kubelet's.
    """

    def __init__(self, kernel: Kernel, checkpoint: str) -> None:
        self._kernel = kernel
        self._checkpoint = checkpoint
        self._numbers: dict[str, int] = {}
        self._cpus: dict[int, CpuSet] = {}
        self._threads: dict[int, tuple[int, CpuSet]] = {}
        self._state = ""
        self._last = 0
        self._looks = self._gap = 0
        self._before = self._reported = now()
        self._spent = 0.0

    def begin(self) -> list[str]:
        """What it prints first."""
        return [f"w {FORM} alone"]

    def hear(self, word: str) -> list[str]:
        """What it prints when it is told something."""
        return [f"= {now()} {word}"]

    def look(self) -> list[str]:
        """What has changed since the last look."""
        began, at = time.process_time(), now()
        found = [*self._cgroups(at), *self._followed(at), *self._file(at)]
        self._gap = max(self._gap, at - self._before)
        self._before, self._looks = at, self._looks + 1
        self._spent += time.process_time() - began
        if at - self._reported >= REPORT:
            found += self.end()
        return found

    def end(self) -> list[str]:
        """What it prints last, and now and then: how often it has looked."""
        line = f"l {now()} {self._looks} {self._gap} {self._spent * 1000:.0f}"
        self._looks, self._gap, self._spent, self._reported = 0, 0, 0.0, now()
        return [line]

    def _cgroups(self, at: int) -> Iterator[str]:
        there = {group.path: group for group in _containers(self._kernel.root, inside=False)}
        for path in [path for path in self._numbers if path not in there]:
            number = self._numbers.pop(path)
            del self._cpus[number]
            yield f"c {at} {number} -"
        for path, group in there.items():
            if path not in self._numbers:
                self._last += 1
                self._numbers[path] = self._last
                yield f"C {self._last} /sys/fs/cgroup{path}"
            number, cpus = self._numbers[path], group.effective
            if self._cpus.get(number) != cpus:
                self._cpus[number] = cpus
                yield f"c {at} {number} {cpuset.render(cpus)}"

    def _followed(self, at: int) -> Iterator[str]:
        there = {
            thread.tid: thread
            for process in self._kernel.processes.values()
            if any(_VCPU.match(thread.comm) for thread in process.threads)
            for thread in process.threads
        }
        for tid in [tid for tid in self._threads if tid not in there]:
            del self._threads[tid]
            yield f"a {at} {tid} -"
        for tid, thread in there.items():
            yield from self._thread(at, tid, thread)

    def _thread(self, at: int, tid: int, thread: Thread) -> Iterator[str]:
        number = self._numbers.get(thread.cgroup.path, 0)
        before = self._threads.get(tid)
        if before is None or before[0] != number:
            yield f"T {tid} {number} {thread.comm}"
        allowed = thread.allowed
        if before is None or before[1] != allowed:
            yield f"a {at} {tid} {cpuset.render(allowed)}"
        self._threads[tid] = (number, allowed)

    def _file(self, at: int) -> Iterator[str]:
        try:
            text = self._kernel.read(self._checkpoint)
        except KernelError:
            return
        if text != self._state:
            self._state = text
            yield f"k {at} {text}".replace("\n", " ")


async def sample(
    kernel: Kernel, checkpoint: str, heard: asyncio.Queue[str | None]
) -> AsyncIterator[list[str]]:
    """Lines as they come, until None is heard."""
    sampler = Sampler(kernel, checkpoint)
    yield sampler.begin()
    while True:
        try:
            async with asyncio.timeout(LOOKS_APART):
                word = await heard.get()
        except TimeoutError:
            yield sampler.look()
            continue
        if word in (None, BYE):
            yield sampler.end()
            return
        yield sampler.hear(word or "")


def _containers(group: Cgroup, *, inside: bool) -> Iterator[Cgroup]:
    """What is in the cgroups of pods."""
    for name, child in group.children.items():
        if inside:
            yield child
        yield from _containers(child, inside=inside or bool(_POD.fullmatch(name)))
