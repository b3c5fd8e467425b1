"""One recording, to be spoilt by hand: each method changes what a single source says.

The other sources keep saying what they said, so that a change shows whether the judge compares
them. A scene knows the forms of the recorded texts and nothing of how they are judged: what it
looks up, it looks up by itself.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from conformance.model.cpuset import CpuSet
from conformance.model.evidence import (
    Checkpoint,
    Container,
    Node,
    Pod,
    RawSnapshot,
    Snapshot,
    Thread,
)
from conformance.model.topology import Topology
from conformance.model.vocabulary import CPU_MANAGER_LABELS
from conformance.parsing.guest import MARK

T = TypeVar("T")
Edit = Callable[[Any], object]
"""Changes a JSON object in place."""
GUEST = re.compile(rf"{MARK} (\{{.*\}})")
_VCPU = re.compile(r"CPU (\d+)/\w+")
_IOTHREAD = re.compile(r"IO iothread(\d+)")


class NothingToSpoilError(Exception):
    """The recording has nothing of the kind that a saboteur spoils."""


@dataclass(frozen=True)
class Scene:
    """A recording and the facts that it held before anybody touched it.

    Attributes:
        raw: the recording, as changed so far.
        seen: its facts before the first change.
    """

    raw: RawSnapshot
    seen: Snapshot

    # What there is

    @property
    def launcher(self) -> Pod:
        """The workload's pod."""
        return _need(self.seen.pod, "a pod")

    @property
    def compute(self) -> Container:
        """Its compute container, where its cgroup was seen."""
        found = _need(self.launcher.compute, "a compute container")
        _need(found.cgroup, "its cgroup")
        return found

    @property
    def owned(self) -> CpuSet:
        """The pCPUs of compute's cgroup."""
        return _need(self.compute.cpuset, "a cpuset of compute")

    @property
    def state(self) -> Checkpoint:
        """The kubelet's checkpoint."""
        return _need(self._node.checkpoint, "a checkpoint")

    @property
    def host(self) -> Topology:
        """The node's CPUs."""
        return _need(self._node.topology, "the node's topology")

    @property
    def _node(self) -> Node:
        return _need(self.seen.node, "a node")

    @property
    def pool(self) -> CpuSet:
        """CPUs of the shared pool that are not reserved: room to move something to."""
        kubelet = self._node.kubelet
        reserved = kubelet.reserved if kubelet else None
        free = self.state.default - (reserved or sorted(self.state.default)[:1])
        return _need(CpuSet(free), "CPUs in the shared pool")

    @property
    def vcpus(self) -> Mapping[int, Thread]:
        """Threads of QEMU by number of the vCPU; two at least."""
        found = self._named(_VCPU)
        if len(found) < 2:
            raise NothingToSpoilError("two vCPU threads")
        return found

    @property
    def timers(self) -> list[Thread]:
        """Kernel threads that are timers of guests, beside vCPU 0; none of a plain pod."""
        first = self._named(_VCPU).get(0)
        timers = (self._node.timers or ()) if first else ()
        return [each for each in timers if first and each.affinity == first.affinity]

    @property
    def iothread(self) -> Thread:
        """The thread of an IOThread of the domain."""
        found = self._named(_IOTHREAD)
        return _need(found.get(min(found, default=0)), "a thread of an IOThread")

    def _named(self, names: re.Pattern[str]) -> dict[int, Thread]:
        return {
            int(name[1]): thread
            for thread in self.compute.threads
            if (name := names.fullmatch(thread.name))
        }

    def thread(self, name: str) -> Thread:
        """A thread of compute whose name begins so."""
        found = (each for each in self.compute.threads if each.name.startswith(name))
        return _need(next(found, None), f"a thread {name}")

    @property
    def neighbour(self) -> tuple[Pod, Container]:
        """A container of another pod that lives in the shared pool, with threads."""
        for pod in self.seen.pods:
            for each in pod.containers:
                mine = pod.uid == self.launcher.uid if self.seen.pod else False
                exclusive = (pod.uid, each.name) in self.state.entries
                if not mine and not exclusive and each.cgroup and each.cpuset and each.threads:
                    return pod, each
        raise NothingToSpoilError("a container of another pod in the shared pool")

    @property
    def sidecar(self) -> Container:
        """A hook sidecar or a containerDisk in the same pod that was seen to run."""
        found = (
            each
            for each in self.launcher.containers
            if each.name.startswith(("hook-sidecar-", "volume"))
            and (each.cgroup and each.cpuset and each.threads)
        )
        return _need(next(found, None), "a sidecar that runs")

    # What files of the node say

    def file(self, path: str, text: str | None) -> Scene:
        """Another text of a file; None takes it away."""
        files = {name: found for name, found in self.raw.files.items() if name != path}
        return self.but(files=files if text is None else {**files, path: text})

    def text(self, ending: str) -> tuple[str, str]:
        """Path and text of the file whose path ends so."""
        found = (item for item in self.raw.files.items() if item[0].endswith(ending))
        return _need(next(found, None), ending)

    def group(self, cgroup: str | None, name: str, text: str) -> Scene:
        """Another text of a file of a cgroup."""
        return self.file(f"/sys/fs/cgroup{_need(cgroup, 'a cgroup')}/{name}", text)

    def cpuset(self, cgroup: str | None, cpus: Iterable[int]) -> Scene:
        """A cgroup has other CPUs."""
        text = f"{CpuSet(cpus)}\n"
        return self.group(cgroup, "cpuset.cpus.effective", text).group(cgroup, "cpuset.cpus", text)

    def bound(self, process: Thread, cpus: Iterable[int]) -> Scene:
        """A process outside of every pod, or a kernel thread, may run elsewhere."""
        path, text = self.text(f"/proc/{process.pid}/status")
        line = f"Cpus_allowed_list:\t{CpuSet(cpus)}"
        return self.file(path, re.sub(r"Cpus_allowed_list:.*", line, text))

    def affinity(self, thread: Thread, cpus: Iterable[int]) -> Scene:
        """A thread may run elsewhere."""
        path, text = self.text(f"/task/{thread.tid}/status")
        line = f"Cpus_allowed_list:\t{CpuSet(cpus)}"
        return self.file(path, re.sub(r"Cpus_allowed_list:.*", line, text))

    def rename(self, thread: Thread, name: str) -> Scene:
        """A thread has another name."""
        path, text = self.text(f"/task/{thread.tid}/status")
        return self.file(path, re.sub(r"Name:.*", f"Name:\t{name}", text))

    def gone(self, thread: Thread) -> Scene:
        """A thread has ended."""
        path, _text = self.text(f"/task/{thread.tid}/status")
        return self.file(path, None)._member(thread.cgroup, thread.tid, there=False)

    def moved(self, thread: Thread, cgroup: str) -> Scene:
        """A thread sits in another cgroup, and may run where it could."""
        away = self._member(thread.cgroup, thread.tid, there=False)
        return away._member(cgroup, thread.tid, there=True)

    def process(self, cgroup: str, cpus: Iterable[int]) -> Scene:
        """A process that was not there runs in a cgroup, which is made where there is none."""
        tid = 4190001  # no node of the recordings has come so far
        text = f"Name:\tstress-ng\nTgid:\t{tid}\nPid:\t{tid}\nPPid:\t1\nNSpid:\t{tid}\t1\n"
        cpus = CpuSet(cpus)
        made = self.file(f"/proc/{tid}/task/{tid}/status", f"{text}Cpus_allowed_list:\t{cpus}")
        if f"/sys/fs/cgroup{cgroup}/cpuset.cpus.effective" not in self.raw.files:
            made = made.cpuset(cgroup, cpus).group(cgroup, "cpu.max", "max 100000\n")
        return made._member(cgroup, tid, there=True)

    def _member(self, cgroup: str, tid: int, *, there: bool) -> Scene:
        path = f"/sys/fs/cgroup{cgroup}/cgroup.threads"
        tids = [each for each in self.raw.files.get(path, "").split() if each != str(tid)]
        tids += [str(tid)] if there else []
        return self.file(path, "".join(f"{each}\n" for each in tids))

    def checkpoint(self, edit: Edit) -> Scene:
        """The kubelet's checkpoint says something else; its entries are ``entries[UID][NAME]``."""
        state = json.loads(self.raw.files[self.state.path])
        if not isinstance(state.setdefault("entries", {}), dict):
            raise NothingToSpoilError("a checkpoint with entries")
        edit(state)
        return self.file(self.state.path, json.dumps(state))

    def entry(self, cpus: Iterable[int] | None) -> Scene:
        """The checkpoint gives compute other CPUs, or none."""
        uid, name = self.launcher.uid, self.compute.name

        def edit(state: Any) -> None:
            if cpus is None:
                del state["entries"][uid]
            else:
                state["entries"][uid][name] = str(CpuSet(cpus))

        if (uid, name) not in self.state.entries:
            raise NothingToSpoilError("an entry of compute")
        return self.checkpoint(edit)

    def default(self, cpus: Iterable[int]) -> Scene:
        """The checkpoint's shared pool is another one."""
        return self.checkpoint(lambda state: state.update(defaultCpuSet=str(CpuSet(cpus))))

    def kubelet(self, edit: Edit) -> Scene:
        """The kubelet runs with another configuration."""
        path, text = self.text("/configz")
        found = json.loads(text)
        edit(found["kubeletconfig"])
        return self.file(path, json.dumps(found))

    def renumbered(self, places: Mapping[int, int]) -> Scene:
        """Compute is on other pCPUs, by every source; everybody in the shared pool makes room."""

        def put(cpus: Iterable[int]) -> CpuSet:
            return CpuSet(places.get(cpu, cpu) for cpu in cpus)

        owned, compute = self.owned, self.compute
        pool = (self.state.default | owned) - put(owned)
        scene = self.entry(put(owned)).default(pool).in_step(pool)
        scene = scene.cpuset(compute.cgroup, put(owned))
        for child, cpus in compute.children.items():
            scene = scene.cpuset(f"{compute.cgroup}/{child}", put(cpus))
        for thread in compute.threads:
            scene = scene.affinity(thread, put(thread.affinity))
        for timer in self.timers:
            scene = scene.bound(timer, put(timer.affinity))
        domain = self.raw.domain
        if domain is None:
            return scene

        def text(cpus: str) -> str:
            return str(put(CpuSet.parse(cpus)))

        pins = re.compile(r"(<(?:vcpu|emulator|iothread)pin [^>]*cpuset=['\"])([^'\"]*)")
        return scene.live(
            xml=pins.sub(lambda found: f"{found[1]}{text(found[2])}", domain.xml),
            vcpu_pins={number: text(cpus) for number, cpus in domain.vcpu_pins.items()},
            iothread_pins={number: text(cpus) for number, cpus in domain.iothread_pins.items()},
            emulator_pin=text(domain.emulator_pin),
        )

    def in_step(self, pool: CpuSet) -> Scene:
        """Everybody who lives in the shared pool follows it."""
        scene = self
        for pod in self.seen.pods:
            for each in pod.containers:
                if each.cgroup and each.cpuset and (pod.uid, each.name) not in self.state.entries:
                    scene = scene._follows(each.cgroup, each.cpuset, each.threads, pool)
        for other in self.seen.unlisted:
            if other.cpuset and other.configured:
                scene = scene._follows(other.cgroup, other.cpuset, other.threads, pool)
        return scene

    def _follows(self, cgroup: str, cpus: CpuSet, threads: Iterable[Thread], pool: CpuSet) -> Scene:
        whole = self.state.default <= cpus
        scene = self.cpuset(cgroup, pool if whole else cpus & pool or pool)
        for thread in threads:
            scene = scene.affinity(thread, thread.affinity & pool or pool)
        return scene

    # What libvirt says

    def xml(self, pattern: str, put: str) -> Scene:
        """The domain XML has something else, wherever it has a regular expression."""
        domain = _need(self.raw.domain, "a domain")
        text, changed = re.subn(pattern, put, domain.xml)
        if not changed:
            raise NothingToSpoilError(pattern)
        return self.but(domain=replace(domain, xml=text))

    def pinned(self, vcpu: int, cpus: str | None) -> Scene:
        """The domain XML pins a vCPU elsewhere, or not at all."""
        found = rf"<vcpupin vcpu=['\"]{vcpu}['\"] cpuset=['\"][^'\"]*['\"]\s*/>"
        return self.xml(found, "" if cpus is None else f"<vcpupin vcpu='{vcpu}' cpuset='{cpus}'/>")

    def live(self, **answers: Any) -> Scene:
        """libvirt answers something else: fields of `RawDomain`."""
        domain = _need(self.raw.domain, "a domain")
        return self.but(domain=replace(domain, **answers))

    def live_vcpu(self, vcpu: int, cpus: str) -> Scene:
        """libvirt answers another pin of a vCPU."""
        domain = _need(self.raw.domain, "a domain")
        return self.live(vcpu_pins={**domain.vcpu_pins, str(vcpu): cpus})

    # What the guest says

    def guest(self, edit: Edit) -> Scene:
        """The guest reports something else."""
        console = _need(self.raw.console, "a console")
        found = _need(GUEST.search(console), "a report of the guest")
        report = json.loads(found[1])
        edit(report)
        put = f"{MARK} {json.dumps(report)}"
        return self.but(console=GUEST.sub(lambda _found: put, console))

    # What the API says

    def pod(self, edit: Edit) -> Scene:
        """The launcher pod is another one, as it and as one of its node's."""
        changed = copy.deepcopy(_need(self.raw.pod, "a pod"))
        edit(changed)
        uid = self.launcher.uid
        pods = (changed if each["metadata"]["uid"] == uid else each for each in self.raw.pods)
        return self.but(pod=changed, pods=tuple(pods))

    def container(self, name: str, edit: Edit) -> Scene:
        """A container of the launcher pod's spec is another one."""

        def change(pod: Any) -> None:
            for kind in ("containers", "initContainers"):
                for each in pod["spec"].get(kind, ()):
                    if each["name"] == name:
                        edit(each)

        return self.pod(change)

    def vmi(self, edit: Edit) -> Scene:
        """The VMI is another one."""
        changed = copy.deepcopy(_need(self.raw.vmi, "a VMI"))
        edit(changed)
        return self.but(vmi=changed)

    def node(self, edit: Edit) -> Scene:
        """The node is another one."""
        changed = copy.deepcopy(_need(self.raw.node, "a node"))
        edit(changed)
        return self.but(node=changed)

    def labelled(self, value: str | None) -> Scene:
        """The node's labels of a CPU manager have another value; None takes them away."""

        def edit(node: Any) -> None:
            labels = node["metadata"].setdefault("labels", {})
            for key in CPU_MANAGER_LABELS:
                labels.pop(key, None)
                if value is not None:
                    labels[key] = value

        return self.node(edit)

    def failed(self) -> Scene:
        """The VMI has failed."""
        return self.vmi(lambda vmi: vmi["status"].update(phase="Failed"))

    def answer(self, **changes: Any) -> Scene:
        """The API refused the VMI with something else: members of its Status."""
        found = _need(self.raw.rejection, "a refusal")
        return self.but(rejection={**found, **changes})

    def but(self, **changes: Any) -> Scene:
        """Other fields of `RawSnapshot`."""
        return replace(self, raw=replace(self.raw, **changes))


def _need(value: T | None, what: str) -> T:
    if not value:
        raise NothingToSpoilError(what)
    return value
