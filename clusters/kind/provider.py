"""The provider ``kind``: brings clusters up on this host's container engine, and down."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import filelock
import yaml

from clusters.contract import cpuset
from clusters.contract.access import AccessError
from clusters.contract.provider import ClusterError, Handle, Progress, Provider
from clusters.contract.shape import ClusterSpec, NodeShape
from clusters.existing import node_points
from clusters.host import processes, rundir
from clusters.kind import admin, config, engine, host, tool
from clusters.kind.access import EngineShell, KindAccess, export_logs
from clusters.kind.description import DESCRIPTION, Settings
from clusters.kind.engine import Engine
from clusters.kind.slices import Slice, Slices, divide
from clusters.kit import image_archives as images
from clusters.kit import kubevirt_deployment
from clusters.kit.api import Api, ApiError
from clusters.kit.waiting import wait
from clusters.virtual_node import accel

OWNER = "owner"
"""In the handle's details: the process that the cluster ends with, unless it is detached."""
NODES_SECONDS = 300.0
LABELS_SECONDS = 300.0
CPUSET = "/sys/fs/cgroup/cpuset.cpus.effective"


@dataclass(frozen=True)
class KindProvider:
    """`clusters.contract.provider.Provider` of nodes that are containers of this host.

    Attributes:
        sys: the host's /sys.
        dev: the host's /dev.
    """

    sys: Path = Path("/sys")
    dev: Path = Path("/dev")

    def up(
        self, name: str, spec: ClusterSpec, directory: Path, *, progress: Progress, detached: bool
    ) -> Handle:
        """As `Provider.up`.

        The kubeconfig is the cluster's own, in the directory; that of the user stays as it is.
        """
        asked = Settings(**spec.options)
        _require_possible(spec, asked)
        found = engine.find()
        cores = host.cores(self.sys)
        engine.require_slices(found, sum(len(core.threads) for core in cores))
        if asked.kubevirt != kubevirt_deployment.NONE:
            kubevirt_deployment.require_usable(asked.kubevirt or kubevirt_deployment.RELEASE)
        kind = tool.find(found.name, progress)
        archives = images.archives(Path(asked.images)) if asked.images else ()
        cluster = f"conform-{name}"
        if cluster in kind.clusters():
            raise ClusterError(
                f"{found.name} has a kind cluster {cluster} already, which is not of this user's "
                f"runs: `kind delete cluster --name {cluster}` removes it"
            )
        emulation = guest_problem(self.dev)
        handle = Handle(
            DESCRIPTION.name,
            name,
            str(directory),
            str(directory / "kubeconfig"),
            {
                "engine": found.name,
                "kind": kind.path,
                "cluster": cluster,
                "nodes": ",".join(config.node_names(cluster, asked.workers)),
                "guests": f"guests are emulated: {emulation}" if emulation else "guests run on KVM",
                OWNER: processes.identity(os.getpid()),
            },
        )
        handle, slices = _claim(handle, cores, asked.workers)
        making = _Making(kind, found, cluster, handle, progress)
        try:
            making.create(spec, slices, archives, self.dev)
            versions = making.deploy(asked, use_emulation=emulation is not None)
        except (ClusterError, AccessError) as error:
            raise ClusterError(f"{error}\n{making.keep_logs()}{making.undo()}") from error
        except BaseException:
            making.undo()
            raise
        details = {**handle.details, **versions}
        if detached:
            del details[OWNER]
        handle = replace(handle, details=details)
        rundir.write_handle(directory, handle)
        return handle

    def connect(self, handle: Handle) -> KindAccess:
        """As `Provider.connect`. Raises ClusterError when the API does not answer."""
        try:
            return KindAccess(handle)
        except ApiError as error:
            raise ClusterError(str(error)) from error

    def alive(self, handle: Handle) -> str | None:
        """As `Provider.alive`: whether every node's container runs."""
        owner = handle.details.get(OWNER)
        if owner and not processes.alive(owner):
            return f"the run that made the kind cluster {handle.name} has ended"
        try:
            running = Engine(handle.details["engine"], "", 0, 2).running(handle.details["cluster"])
        except ClusterError as error:
            return f"nothing is known of the kind cluster {handle.name}: {error}"
        dead = sorted(set(handle.details["nodes"].split(",")) - running)
        return f"of the kind cluster {handle.name} {', '.join(dead)} does not run" if dead else None

    def down(self, handle: Handle) -> None:
        """As `Provider.down`. Raises ClusterError when the engine does not delete it."""
        details = handle.details
        kind = tool.Kind(details["kind"], details["engine"])
        _delete(kind, details["cluster"], Path(handle.kubeconfig))
        rundir.remove(Path(handle.directory))


@dataclass(frozen=True)
class _Making:
    """A cluster in the making."""

    kind: tool.Kind
    engine: Engine
    cluster: str
    handle: Handle
    progress: Progress

    def create(
        self, spec: ClusterSpec, slices: Slices, archives: Sequence[images.Archive], dev: Path
    ) -> None:
        """Creates the nodes, gives each its CPUs, loads images, and waits until all are Ready."""
        directory = Path(self.handle.directory)
        patches = []
        for number, slice_ in enumerate(slices.workers, 1):
            patches.append(config.patch_directory(self.handle.directory, number))
            patches[-1].mkdir()
            text = config.kubelet_patch(slice_, spec.nodes[0].cpu_manager)
            (patches[-1] / config.KUBELET_PATCH).write_text(text)
        devices = [path for path in config.DEVICES if (dev / Path(path).name).exists()]
        configuration = directory / "kind.yaml"
        configuration.write_text(config.cluster(patches, devices))
        words = ["create", "cluster", "--name", self.cluster, "--config", str(configuration)]
        # Nodes that failed are retained for their logs; `undo` deletes them.
        words += ["--kubeconfig", self.handle.kubeconfig, "--retain"]
        if image := self._load_node_image(archives):
            words += ["--image", image]
        self.progress(f"kind creates {self.cluster} on {self.engine.name} {self.engine.version}")
        self.kind.do(*words, progress=self.progress)
        Path(self.handle.kubeconfig).chmod(0o600)
        names = self.handle.details["nodes"].split(",")
        owned = (slices.control_plane, *(worker.cpus for worker in slices.workers))
        for node, cpus in zip(names, owned, strict=True):
            self._confine(node, cpuset.render(cpus))
        for archive in archives:
            if not archive.node_image:
                self.progress(f"loading {archive.path.name}: {', '.join(archive.names)}")
                self.kind.do("load", "image-archive", str(archive.path), "--name", self.cluster)
        api = Api(self.handle.kubeconfig)
        try:
            wait("the nodes", lambda: _unready(api, names), NODES_SECONDS, self.progress)
        finally:
            api.close()
        for node, slice_ in zip(names[1:], slices.workers, strict=True):
            self._require_reservation(node, slice_)

    def deploy(self, asked: Settings, *, use_emulation: bool) -> Mapping[str, str]:
        """Deploys KubeVirt, unless it is left out; the versions for the handle."""
        api = Api(self.handle.kubeconfig)
        try:
            versions = {"kubernetes": str(api.get("/version").get("gitVersion", ""))}
            if asked.kubevirt != kubevirt_deployment.NONE:
                versions["kubevirt"] = kubevirt_deployment.deploy(
                    self.handle.kubeconfig,
                    kubevirt_deployment.Settings(
                        asked.kubevirt or kubevirt_deployment.RELEASE, use_emulation=use_emulation
                    ),
                    self.progress,
                )
                wait(
                    "workers",
                    lambda: _unlabelled(api, asked.workers),
                    LABELS_SECONDS,
                    self.progress,
                )
            return versions
        finally:
            api.close()

    def keep_logs(self) -> str:
        """Keeps the logs of the nodes; says where."""
        logs = Path(tempfile.mkdtemp(prefix=f"{self.cluster}-logs-"))
        export_logs(self.kind, self.cluster, logs)
        return f"logs of the nodes are kept in {logs}"

    def undo(self) -> str:
        """Deletes what was made; says what may be left, or nothing."""
        self.progress(f"deleting the kind cluster {self.cluster}")
        try:
            _delete(self.kind, self.cluster, Path(self.handle.kubeconfig))
        except ClusterError as error:
            self.progress(str(error))
            return f"\n{error}"
        return ""

    def _load_node_image(self, archives: Sequence[images.Archive]) -> str | None:
        for archive in archives:
            if archive.node_image:
                self.progress(f"loading {archive.node_image} into {self.engine.name}")
                self.engine.load(archive.path)
                return archive.node_image
        return None

    def _confine(self, node: str, cpus: str) -> None:
        """Lets a node use no other CPUs, and looks whether it is so."""
        self.engine.do("update", "--cpuset-cpus", cpus, node)
        seen = EngineShell(self.engine, node).read([CPUSET]).files.get(CPUSET, "").strip()
        if cpuset.parse(seen) != cpuset.parse(cpus):
            raise ClusterError(
                f"{self.engine.name} was told to keep node {node} on CPUs {cpus}, and its {CPUSET} "
                f"says {seen or 'nothing'}: the cgroup of the engine may not be given these CPUs"
            )
        self.progress(f"node {node} owns CPUs {cpus}")

    def _require_reservation(self, node: str, slice_: Slice) -> None:
        """Looks whether the kubelet of a worker took over what it was told."""
        text = EngineShell(self.engine, node).read([admin.CONFIG]).files.get(admin.CONFIG, "")
        took = yaml.safe_load(text) or {}
        policy, reserved = took.get("cpuManagerPolicy"), str(took.get("reservedSystemCPUs", ""))
        if policy != "static" or cpuset.parse(reserved) != slice_.reserved:
            raise ClusterError(
                f"the kubelet of node {node} has policy {policy} and reserves CPUs "
                f"{reserved or 'none'} ({admin.CONFIG}), not {cpuset.render(slice_.reserved)}: "
                "kubeadm before 1.25 ignores patches; use a newer image of kind's nodes"
            )


def _require_possible(spec: ClusterSpec, asked: Settings) -> None:
    node, *more = spec.nodes
    if more or node.shape != NodeShape() or node.cpu_manager.policy != "static":
        raise ClusterError(
            "kind nodes have the CPUs of this host: choose a --shape that names policy options "
            "only, and the number of nodes by --workers; --cluster embedded makes any shape"
        )
    if asked.workers < 1:
        raise ClusterError("a cluster needs a worker: give --workers 1 or more")
    if spec.profile != "v1" and asked.kubevirt != kubevirt_deployment.NONE:
        raise ClusterError(
            f"the KubeVirt that kind gets is of profile v1, not {spec.profile}: use --profile v1, "
            "or --kubevirt none and bring your own"
        )


def guest_problem(dev: Path) -> str | None:
    """Why guests must be emulated, None where they can use KVM.

    That this host is a virtual machine itself is no obstacle as long as its KVM runs a guest;
    where that cannot be tried, for want of QEMU or of the right to, KVM is trusted.
    """
    kvm = dev / "kvm"
    if not kvm.exists():
        return "this host has no /dev/kvm; it may need nested virtualisation"
    tried = shutil.which(accel.QEMU) and os.access(kvm, os.R_OK | os.W_OK)
    return accel.guest_problem() if tried else None


def _claim(handle: Handle, cores: Sequence[host.Core], workers: int) -> tuple[Handle, Slices]:
    """Takes CPUs that no other kind cluster of this user has; others see it by the handle."""
    with filelock.FileLock(rundir.base() / "kind.lock"):
        taken = frozenset[int]().union(
            *(
                cpuset.parse(other.details["cpus"])
                for other in rundir.handles()
                if other.provider == DESCRIPTION.name and other.name != handle.name
            )
        )
        slices = divide(cores, workers, taken)
        details = {**handle.details, "cpus": cpuset.render(slices.all)}
        handle = replace(handle, details=details)
        rundir.write_handle(Path(handle.directory), handle)
    return handle, slices


def _delete(kind: tool.Kind, cluster: str, kubeconfig: Path) -> None:
    try:
        kind.delete(cluster, kubeconfig)
    except (ClusterError, OSError) as error:
        raise ClusterError(
            f"{error}\nthe kind cluster {cluster} may still be there: "
            f"`kind delete cluster --name {cluster}`"
        ) from error


def _unready(api: Api, names: Sequence[str]) -> str | None:
    try:
        nodes = {node["metadata"]["name"]: node for node in api.items("/api/v1/nodes")}
    except ApiError as error:
        return str(error)
    for name in names:
        if name not in nodes:
            return f"node {name} has not joined"
        ready = _condition(nodes[name], "Ready")
        if ready.get("status") != "True":
            return f"node {name} is not Ready: {ready.get('message') or 'it says nothing'}"
    return None


def _unlabelled(api: Api, workers: int) -> str | None:
    try:
        nodes = api.items("/api/v1/nodes")
    except ApiError as error:
        return str(error)
    return node_points.unlabelled(nodes, workers, "workers")


def _condition(node: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    for condition in (node.get("status") or {}).get("conditions") or ():
        if condition.get("type") == type_:
            found: Mapping[str, Any] = condition
            return found
    return {}


PROVIDER: Provider = KindProvider()
