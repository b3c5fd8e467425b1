"""The sampler of a node: really run, on a made-up tree of cgroups and on threads of its own."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.contract import cpuset
from clusters.contract.shape import NodeShape
from clusters.kit import sampler
from clusters.kit.sampling import PipedSampling
from clusters.simulated.kernel import Kernel
from clusters.simulated.sampler import Sampler

POD = "/kubepods.slice/kubepods-podX.slice"
CHECKPOINT = "/var/lib/kubelet/cpu_manager_state"
SHELLS = [each for each in ("bash", "dash", "busybox") if shutil.which(each)]
_PR_SET_NAME = 15


class Thread:
    """A thread of this process that is called like a vCPU's."""

    def __init__(self, name: str) -> None:
        self._end, begun = threading.Event(), threading.Event()

        def live() -> None:
            ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
            self.tid = threading.get_native_id()
            begun.set()
            self._end.wait()

        self._thread = threading.Thread(target=live)
        self._thread.start()
        begun.wait()

    def end(self) -> None:
        self._end.set()
        self._thread.join()


class Node:
    """A root with cgroups, and a sampler that looks at it."""

    def __init__(self, root: Path, shell: str) -> None:
        self._root = root
        self._shell = shell
        self.lines: list[str] = []
        self._changed = threading.Condition()

    def cgroup(self, path: str, cpus: str, tids: str = "") -> None:
        directory = self._root / f"sys/fs/cgroup{path}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cgroup.threads").write_text(tids)
        (directory / "cpuset.cpus.effective").write_text(f"{cpus}\n")

    def throttled(self, path: str, times: int) -> None:
        text = f"usage_usec 1\nnr_throttled {times}\n"
        (self._root / f"sys/fs/cgroup{path}/cpu.stat").write_text(text)

    def checkpoint(self, text: str) -> None:
        path = self._root / CHECKPOINT[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def start(self) -> None:
        words = sampler.command(str(self._root))
        words[0:1] = ["busybox", "sh"] if self._shell == "busybox" else [self._shell]
        pipe = subprocess.PIPE
        process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe)
        self.process, self.sampling = process, PipedSampling(process, "a sampler")
        self.sampling.say(sampler.first_words(CHECKPOINT, ["/kubepods.slice"]))
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self.sampling.lines():
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()

    def wait(self, ending: str, kind: str, *, times: int = 1, word: str = "word") -> str:
        """A line of a kind that ends so, the one of that number; it is talked to meanwhile.

        A shell that waits no longer may lose half a word, so that each is said again.
        """
        while self.process.poll() is None:
            with self._changed:
                found = [
                    each
                    for each in self.lines
                    if each.startswith(f"{kind} ") and each.endswith(ending)
                ]
                if len(found) >= times:
                    return found[times - 1]
                self._changed.wait(0.1)
            self.sampling.say(word)
        raise AssertionError(f"it ended: {self.lines}")

    def hears(self, words: int) -> None:
        """Waits for so many words more, so that it has looked for cgroups in between."""
        until = len(self.lines) + words
        while self.process.poll() is None and len(self.lines) < until:
            self.sampling.say("word")
            time.sleep(0.02)

    def end(self) -> None:
        self.sampling.close()
        self._reader.join()


@pytest.fixture(params=SHELLS)
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path, request.param)
    yield made
    made.end()


@pytest.fixture
def vcpu() -> Iterator[Thread]:
    thread = Thread("CPU 0/KVM")
    yield thread
    thread.end()


def test_it_tells_what_changes_and_ends_with_its_input(node: Node, vcpu: Thread) -> None:
    node.cgroup(f"{POD}/old", "0-3")
    node.checkpoint('{"policyName":\n"static"}')
    node.start()
    node.wait('{"policyName": "static"}', "k")
    node.wait(" 0-3", "c")
    number = node.wait(f"{POD}/old", "C").split()[1]
    assert node.lines[0].startswith(f"w {sampler.FORM} ")

    node.cgroup(f"{POD}/new", "1", f"{vcpu.tid}\n")
    new = node.wait(f"{POD}/new", "C").split()[1]
    node.wait(f" {new} CPU 0/KVM", "T")
    everywhere = os.sched_getaffinity(vcpu.tid)
    one = min(everywhere)
    os.sched_setaffinity(vcpu.tid, {one})
    node.wait(f" {vcpu.tid} {one}", "a")
    node.cgroup(f"{POD}/old", "0-2")
    node.wait(f" {number} 0-2", "c")
    shutil.rmtree(node._root / f"sys/fs/cgroup{POD}/old")
    node.wait(f" {number} -", "c")
    vcpu.end()
    node.wait(f" {vcpu.tid} -", "a")
    node.wait(" word", "=")

    node.end()
    assert node.process.wait(30) == 0
    assert node.lines[-1].startswith("l ")
    assert "-" not in node.lines[-1]


def test_quotas_above_a_vcpu_are_told(node: Node, vcpu: Thread) -> None:
    node.cgroup(f"{POD}/old", "0-3")
    node.start()
    node.wait(" 0-3", "c")
    node.cgroup(f"{POD}/new", "1", f"{vcpu.tid}\n")
    number = node.wait(f"{POD}", "C").split()[1]
    above = node.wait("/sys/fs/cgroup/kubepods.slice", "C").split()[1]
    node.throttled(POD, 3)
    node.throttled("/kubepods.slice", 4)
    node.wait(f" {number} 3", "q")
    node.wait(f" {above} 4", "q")
    node.throttled("/kubepods.slice", 5)
    node.wait(f" {above} 5", "q")
    vcpu.end()
    shutil.rmtree(node._root / f"sys/fs/cgroup{POD}")
    node.throttled("/kubepods.slice", 6)
    node.wait(f" {vcpu.tid} -", "a")
    node.wait(f" {above} 6", "q")


def test_a_vcpu_that_leaves_its_cgroup_is_followed(node: Node, vcpu: Thread) -> None:
    """What it was allowed elsewhere counts when it is back."""
    everywhere, one = os.sched_getaffinity(vcpu.tid), min(os.sched_getaffinity(vcpu.tid))
    node.cgroup(f"{POD}/old", "0-3")
    node.start()
    node.wait(" 0-3", "c")
    os.sched_setaffinity(vcpu.tid, {one})
    node.cgroup(f"{POD}/new", "1", both := f"{os.getpid()}\n{vcpu.tid}\n")
    node.wait(f" {vcpu.tid} {one}", "a")
    node.cgroup(f"{POD}/new", "1")
    node.hears(30)
    os.sched_setaffinity(vcpu.tid, everywhere)
    node.wait(f" {vcpu.tid} {cpuset.render(everywhere)}", "a")
    node.cgroup(f"{POD}/new", "1", both)
    os.sched_setaffinity(vcpu.tid, {one})
    node.wait(f" {vcpu.tid} {one}", "a", times=2)
    vcpu.end()
    node.wait(f" {vcpu.tid} -", "a")
    assert sum(line.startswith(f"T {vcpu.tid} ") for line in node.lines) == 1
    lines = [line.split() for line in node.lines if line.startswith("a ")]
    assert [cpus for _, _, tid, cpus in lines if tid == str(vcpu.tid)] == [
        str(one),
        cpuset.render(everywhere),
        str(one),
        "-",
    ]


def test_a_line_is_said_once(node: Node) -> None:
    node.cgroup(f"{POD}/one", "0-3")
    node.start()
    node.wait(" 0-3", "c")
    for _ in range(10):
        node.wait(" word", "=")
        time.sleep(0.02)
    assert sum(line.startswith("c ") for line in node.lines) == 1


def test_it_goes_on_at_another_pace(node: Node) -> None:
    """A shell that cannot wait for a while must not try to."""
    node.cgroup(f"{POD}/one", "0-3")
    node.start()
    node.wait(" 0-3", "c")
    node.sampling.say("t0.20")
    for number in range(20):
        node.wait(f" after{number}", "=", word=f"after{number}")
    node.cgroup(f"{POD}/one", "0-2")
    node.wait(" 0-2", "c")


def test_names_of_cgroups_are_no_globs() -> None:
    first = sampler.first_words("/state", ["/kubelet.slice/a\\x2db"])
    first = first.rpartition(f"{sampler.END}\n")[2]
    assert "\\" not in first
    assert first.startswith("/state\n")
    assert first.endswith("effective\n")


def test_a_simulated_node_prints_the_same() -> None:
    kernel = Kernel(NodeShape(), "node-1")
    group = kernel.make_cgroup(f"{POD}/scope")
    process = kernel.spawn("qemu-kvm", group)
    thread = kernel.add_thread(process, "CPU 0/KVM")
    watch = Sampler(kernel, CHECKPOINT)

    def told() -> list[str]:
        """Without the times."""
        lines = (line.split(" ") for line in watch.look())
        return [" ".join((w[0], *w[2:])) if w[0] in "ack" else " ".join(w) for w in lines]

    assert told() == [
        f"C 1 /sys/fs/cgroup{POD}/scope",
        "c 1 0-11",
        f"T {process.pid} 1 qemu-kvm",
        f"a {process.pid} 0-11",
        f"T {thread.tid} 1 CPU 0/KVM",
        f"a {thread.tid} 0-11",
    ]
    kernel.set_affinity(thread, frozenset({3}))
    assert told() == [f"a {thread.tid} 3"]
    assert told() == []
    kernel.write(f"/sys/fs/cgroup{POD}/scope/cpuset.cpus", "3-4")
    kernel.write_plain(CHECKPOINT, "{}")
    assert told() == ["c 1 3-4", f"a {process.pid} 3-4", "k {}"]
    kernel.exit(process.pid)
    assert told() == [f"a {process.pid} -", f"a {thread.tid} -"]


def test_the_command_fits_into_the_path_of_a_request() -> None:
    assert sum(map(len, sampler.command("/proc/1/root"))) < 1000
    assert sampler.AWK.count(sampler.END) == sampler.PACER.count(sampler.END) == 0
