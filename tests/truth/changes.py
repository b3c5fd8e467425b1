"""What tests do to the good recording, and what a check then says of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import conformance.checks.all  # noqa: F401 - registers every check
from conformance.checks.registry import registered
from conformance.model.evidence import RawSnapshot
from conformance.model.expectation import Expectation
from conformance.model.finding import Finding, Verdict
from conformance.parsing import assemble
from tests.selfproof import recording as good
from tests.selfproof.mutations import Change

KEPT, BROKEN = Verdict.PASS, Verdict.FAIL
ELSEWHERE = frozenset({"SMT-ALIGNED", "NUMA-ALIGNED"})
"""What is promised of nodes with other policies than that of the good recording."""
UNSEEN, NONE = Verdict.NOT_OBSERVED, Verdict.NOT_APPLICABLE


def judged(
    requirement: str,
    *changes: Change,
    raw: RawSnapshot | None = None,
    expectation: Expectation = good.EXPECTATION,
) -> Finding:
    """What the check of a requirement says of the good recording, changed."""
    raw = raw or good.running()
    for change in changes:
        raw = change(raw)
    return registered()[requirement].judge(assemble(raw), expectation)


def everything(*changes: Change, raw: RawSnapshot | None = None) -> dict[str, Finding]:
    """What every check says of a moment at which the VMI runs."""
    names = [n for n, c in registered().items() if c.moment == "running"]
    applying = [n for n in names if registered()[n].applies(good.EXPECTATION)]
    return {name: judged(name, *changes, raw=raw) for name in applying}


def add(files: Mapping[str, str]) -> Change:
    """Adds node files, or replaces them."""
    return lambda raw: replace(raw, files={**raw.files, **files})


def cgroup(
    path: str,
    cpus: str,
    tids: Sequence[int] = (),
    *,
    configured: str | None = None,
    quota: str = "",
) -> Change:
    """Adds a cgroup with threads in it."""
    where = f"{good.CGROUPS}{path}"
    files = {
        f"{where}/cpuset.cpus": (cpus if configured is None else configured) + "\n",
        f"{where}/cpuset.cpus.effective": cpus + "\n",
        f"{where}/cgroup.threads": "".join(f"{tid}\n" for tid in tids),
    }
    return add({**files, f"{where}/cpu.max": f"{quota or 'max 100000'}\n"})


def process(pid: int, name: str, cpus: str, *, parent: int = 1, inner: int = 1) -> Change:
    """Adds the status of a process of one thread."""
    text = (
        f"Name:\t{name}\nTgid:\t{pid}\nPid:\t{pid}\nPPid:\t{parent}\n"
        f"NSpid:\t{pid}\t{inner}\nCpus_allowed_list:\t{cpus}\n"
    )
    return add({good.status_path(pid, pid): text})


def moved(old: str, new: str) -> Change:
    """Every cgroup at or below one is at or below another one."""

    def change(raw: RawSnapshot) -> RawSnapshot:
        prefix = good.CGROUPS + old
        files = {
            good.CGROUPS + new + path[len(prefix) :] if path.startswith(prefix) else path: text
            for path, text in raw.files.items()
        }
        assert files != dict(raw.files)
        return replace(raw, files=files)

    return change


def pod_objects(edit: Callable[[list[Any]], object]) -> Change:
    """Edits the list of the node's pods; the launcher is the first and the snapshot's own."""

    def change(raw: RawSnapshot) -> RawSnapshot:
        pods = copy.deepcopy(list(raw.pods))
        edit(pods)
        return replace(raw, pod=pods[0], pods=tuple(pods))

    return change


def configz(**settings: Any) -> Change:
    """Replaces what the kubelet runs with."""
    config = {"cpuManagerPolicy": "static", **settings}
    return add({good.CONFIGZ: json.dumps({"kubeletconfig": config})})


def unreadable(path: str, why: str = "Input/output error") -> Change:
    """A file that is there and could not be read."""

    def change(raw: RawSnapshot) -> RawSnapshot:
        files = {each: text for each, text in raw.files.items() if each != path}
        return replace(raw, files=files, unreadable={**raw.unreadable, path: why})

    return change
