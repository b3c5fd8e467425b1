"""Evidence of as many VMIs as one likes, made of one full node of 256 CPUs.

That node is a simulated one, and the real collector records it. Every further node is the
same recording under other names: its own node, namespace, UIDs, containers and thread ids.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clusters import providers
from clusters.contract.access import ClusterAccess
from clusters.contract.shape import ClusterSpec, NodeShape, NodeSpec
from clusters.host import rundir
from conformance.auditing.audit import Wanted, audit
from conformance.collecting import api as paths
from conformance.collecting import bundle
from conformance.matrix.manifests import Wish, vmi
from conformance.model.evidence import RawSnapshot
from conformance.settling import LAUNCHER_START, NotYetError, Patience, until

SHAPE = NodeShape(sockets=2, cores=64, threads=2, numa_nodes=2, memory_mib=262144)
VMIS = 60
"""On each node: of the 254 CPUs that are not reserved they own 240."""
MIX = (
    Wish(cores=2, threads=2),
    Wish(cores=3, isolate=True, iothreads_policy="auto", hooks=1),
    Wish(sockets=2, cores=2, container_disk=True),
    Wish(sockets=1, cores=2, isolate=True, even_parity=True, hooks=2),
)
"""What they ask for, in turn; each owns four CPUs."""

_NAMESPACE = "bench"
_NODE = "node-1"
_NAMES = re.compile(
    rf"{_NAMESPACE}(?![a-z])|{_NODE}(?!\d)"
    # The beginnings of UIDs, as the API and as cgroups write them, and of container ids.
    r"|(?<![0-9a-f])[0-9a-f]{8}(?=([-_])[0-9a-f]{4}\1|[0-9a-f]{56})"
)
_STATUS = re.compile(r"/proc/(\d+)/task/(\d+)/status")
_THREADS = re.compile(r"(?<=^Tgid:\t)\d+|(?<=^Pid:\t)\d+|(?<=^PPid:\t)\d+", re.MULTILINE)
_MEMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Recording:
    """One node: the content of its ``run.json``, and a snapshot of each VMI."""

    run: Mapping[str, Any]
    snapshots: tuple[RawSnapshot, ...]


def record() -> Recording:
    """Fills a simulated node and records it; takes a few seconds."""
    name = "benchmark"
    spec = ClusterSpec(nodes=(NodeSpec(_NODE, SHAPE),))
    provider = providers.provider("simulated")
    handle = provider.up(name, spec, rundir.create(name), progress=_quiet, detached=False)
    try:
        access = provider.connect(handle)
        _fill(access)
        with tempfile.TemporaryDirectory() as directory:
            # However long its containers have run: to settle is no part of the work.
            once = Wanted(libvirt=True, settle=0.0, rate=1e6)
            audit(access, "simulated", name, Path(directory), _quiet, profile="v1", wanted=once)
            found = bundle.read(Path(directory))
            taken = [raw for each in found.snapshots.values() for _path, raw in each if raw.vmi]
            return Recording(found.run, tuple(taken))
    finally:
        provider.down(handle)


def _fill(access: ClusterAccess) -> None:
    api = paths.connect(access.kubeconfig)
    api.create(paths.core("namespaces"), {"metadata": {"name": _NAMESPACE}})
    path = paths.vmis("v1", _NAMESPACE)
    for number in range(VMIS):
        api.create(path, vmi(f"vm-{number:02}", MIX[number % len(MIX)]))

    def probe() -> None:
        phases = [(item.get("status") or {}).get("phase") for item in api.get(path)["items"]]
        if phases.count("Running") < VMIS:
            raise NotYetError(f"{phases.count('Running')} VMIs run")

    until("a full node", probe, Patience().deadline(LAUNCHER_START))


def _quiet(_line: str) -> None:
    pass


def write(recording: Recording, directory: Path, number: int, *, restless: bool) -> None:
    """Writes the evidence of a number of VMIs.

    Args:
        recording: of one node.
        directory: where to write it.
        number: how many VMIs.
        restless: somebody came and went between any two looks at a node, so that no two
            snapshots say the same of it.
    """
    cases = []
    with tempfile.TemporaryDirectory() as first:
        own = [bundle.write_snapshot(Path(first), raw) for raw in recording.snapshots]
        texts = [(_blank(path.name), _blank(path.read_text()), _shared(path)) for path in own]
    for start in range(0, number, VMIS):
        rename, shared = _renaming(start // VMIS), ""
        for index, raw in enumerate(recording.snapshots[: number - start]):
            title = f"VMI {start + index}, as it was found"
            manifest = rename(raw.manifest)
            cases.append({"id": rename(raw.case), "title": title, "manifest": manifest})
            if restless or not index:
                look = _look(recording.snapshots[0], raw, start, rename)
                changed = _restarted(look, (index + 1) % VMIS) if restless else look
                shared = _shared(bundle.write_snapshot(directory, changed))
                continue
            # What only its names tell from the recorded one is made as text, in no time.
            name, text, recorded = (_filled(each, start // VMIS) for each in texts[index])
            (directory / "snapshots" / name).write_text(text.replace(recorded, shared))
    bundle.write_run(directory, {**recording.run, "cases": cases})


def _shared(path: Path) -> str:
    """The name of what a written snapshot shares with the others of its node."""
    return str(json.loads(path.read_text())["on_node"])


def _look(
    first: RawSnapshot, raw: RawSnapshot, start: int, rename: Callable[[Any], Any]
) -> RawSnapshot:
    """A snapshot on another node, which has what the first one says of its node."""
    return replace(
        raw,
        case=rename(raw.case),
        manifest=rename(raw.manifest),
        vmi=rename(raw.vmi),
        pod=rename(raw.pod),
        node=rename(raw.node),
        pods=tuple(rename(pod) for pod in first.pods),
        events=rename(raw.events),
        files={rename(path): rename(text) for path, text in _moved(first.files, start)},
        domain=raw.domain and replace(raw.domain, xml=rename(raw.domain.xml)),
    )


def _renaming(node: int) -> Callable[[Any], Any]:
    """Gives everything that a node's evidence names the names of another one."""

    def rename(value: Any) -> Any:
        if isinstance(value, str):
            return _filled(_blank(value), node)
        if isinstance(value, Mapping):
            return {rename(key): rename(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(rename, value))
        return value

    return rename


def _blank(text: str) -> str:
    """The text with gaps where the number of a node belongs."""

    def name(match: re.Match[str]) -> str:
        found = match[0]
        return f"{found}-\0" if found in (_NAMESPACE, _NODE) else f"\1{found[4:]}"

    return _NAMES.sub(name, text)


def _filled(text: str, node: int) -> str:
    return text.replace("\0", str(node)).replace("\1", f"{node:04x}")


def _moved(files: Mapping[str, str], offset: int) -> Iterator[tuple[str, str]]:
    """The files with other thread ids: no two nodes count alike."""

    def move(match: re.Match[str]) -> str:
        return str(int(match[0]) + offset)

    for path, text in files.items():
        if _STATUS.fullmatch(path):
            yield _MEMBER.sub(move, path), _THREADS.sub(move, text)
        elif path.endswith("/cgroup.threads"):
            yield path, _MEMBER.sub(move, text)
        else:
            yield path, text


def _restarted(raw: RawSnapshot, index: int) -> RawSnapshot:
    """The snapshot after one other pod of the node has been replaced by one like it."""
    launchers = [n for n, pod in enumerate(raw.pods) if pod["metadata"]["namespace"] != "kubevirt"]
    place = launchers[index % len(launchers)]
    uid = raw.pods[place]["metadata"]["uid"]
    if raw.pod is not None and raw.pod["metadata"]["uid"] == uid:
        return raw
    head, fresh = uid[:8], f"{index:04x}{uid[4:8]}"

    def rename(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(head, fresh)
        if isinstance(value, Mapping):
            return {rename(key): rename(item) for key, item in value.items()}
        return [rename(item) for item in value] if isinstance(value, list) else value

    pods = (*raw.pods[:place], rename(raw.pods[place]), *raw.pods[place + 1 :])
    return replace(raw, pods=pods, files=rename(raw.files))
