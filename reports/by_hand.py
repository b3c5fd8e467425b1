"""Commands for whoever looks further: the same case once more, and kubectl."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from reports.document import Case, Document, Finding, Target

_WORD = re.compile(r"[\w:+.\[\]\\/-]+")
"""What pytest takes for one word of an expression of ``-k``."""
_REAL = ("existing", "kind", "virtual")
"""Clusters that kubectl reaches and that have real nodes."""
_LIBVIRT = ("PIN-", "EMU-", "IOT-", "SMT-", "NUMA-", "GUEST-")
_NODE = ("CPU-", "LIFE-", "SIDE-UNPINNED", "NODE-", "PIN-CGROUP")


def again(document: Document, case: str) -> str:
    """The command that repeats one case alone; empty where none was recorded or can be."""
    command = document.run.command
    if not command.startswith("conform run") or not case or not _WORD.fullmatch(case):
        return ""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    kept, passed = [], False
    for word in words:
        if passed:
            passed = False
        elif word == "-k":
            passed = True
        else:
            kept.append(word)
    return f"./{shlex.join([*kept, '-k', f'[{case}]'])}"


def commands(document: Document, case: Case | None, finding: Finding) -> list[str]:
    """What kubectl shows of the workloads of a case, by what the requirement is about.

    They are gone after the run, unless ``--keep`` leaves the cluster or they were there before.
    """
    if case is None or document.cluster.provider not in _REAL:
        return []
    return [line for target in case.targets[:2] for line in _of(target, finding.requirement)]


def _of(target: Target, requirement: str) -> Iterator[str]:
    where = f"kubectl -n {shlex.quote(target.namespace)}"
    pod, node = shlex.quote(target.pod), shlex.quote(target.node)
    if target.vmi:
        yield f"{where} describe vmi {shlex.quote(target.vmi)}"
    if target.pod:
        yield f"{where} describe pod {pod}"
    if target.pod and requirement.startswith(_LIBVIRT):
        yield f"{where} exec {pod} -c compute -- virsh vcpupin 1"
        yield f"{where} exec {pod} -c compute -- virsh emulatorpin 1"
        threads = "grep -H Cpus_allowed_list /proc/[0-9]*/task/*/status"
        yield f"{where} exec {pod} -c compute -- sh -c {shlex.quote(threads)}"
    if target.node and requirement.startswith(_NODE):
        state = "cat /host/var/lib/kubelet/cpu_manager_state"
        yield f"kubectl debug node/{node} -it --image=busybox -- {state}"
        yield f"kubectl get --raw /api/v1/nodes/{node}/proxy/configz"
    if target.node and requirement.startswith("NODE-"):
        yield f"kubectl get node {node} --show-labels"
