"""An existing cluster as a provider: nothing is brought up, and nothing is taken down."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clusters.contract.access import (
    AccessError,
    Capability,
    ContainerExec,
    GuestConsole,
    Libvirt,
    NodeControl,
    NodeShell,
    Reading,
)
from clusters.contract.provider import ClusterError, Handle, Progress, Provider
from clusters.contract.shape import KUBELET_ROOT, ClusterSpec
from clusters.existing import leftovers, preflight, probes
from clusters.existing.claims import Claim, claim_of, give_up, lost, own_namespace, take
from clusters.existing.description import DESCRIPTION, Settings
from clusters.existing.kubeconfig import single_context
from clusters.existing.libvirt import VirshLibvirt
from clusters.existing.node import HANDLER_LABEL, Handler, ShellOf, handler_shells, handlers
from clusters.existing.node_points import (
    CHECKPOINT,
    CPU_MANAGER,
    SCHEDULABLE,
    configured_policy,
    node_access,
)
from clusters.existing.points import Point, State
from clusters.host import processes, rundir
from clusters.host.started import conform
from clusters.kit.api import Api, ApiError, Json
from clusters.kit.console import ApiConsole
from clusters.kit.hugepages import hugepages
from clusters.kit.marks import Mark, whoever_runs_this
from clusters.kit.migration import migration
from clusters.kit.pod_exec import ApiExec
from clusters.kit.realtime import realtime

LOG_LINES = "2000"
SSH, PROBES, DISRUPTIVE = "node-ssh", "probe-namespace", "disruptive"
"""In the handle's details, where nodes are not read through virt-handler."""
ONLY_LOOKS = "only-looks"
"""In the handle's details of a cluster whose VMIs are somebody else's: libvirt is asked to refuse
whatever would change anything."""
OWNER = "owner"
"""In the handle's details: the process that the handle dies with, unless it is detached."""


class ExistingProvider:
    """`clusters.contract.provider.Provider` of the cluster that a kubeconfig leads to."""

    def up(
        self, name: str, spec: ClusterSpec, directory: Path, *, progress: Progress, detached: bool
    ) -> Handle:
        """As `Provider.up`: looks whether a run can be made, and creates nothing there.

        The directory gets a private copy of the kubeconfig, of the one context.

        Raises:
            ClusterError: there are gaps; all of them are named.
        """
        asked = Settings(**spec.options)
        path = directory / "kubeconfig"
        path.touch(mode=0o600)
        path.write_text(single_context(asked.kubeconfig, asked.context))
        if spec.run:
            _sweep(str(path), asked.namespace or "", progress)
        found = preflight.preflight(
            str(path),
            kubelet_root=asked.kubelet_root,
            node_ssh=asked.node_ssh,
            probe_image=asked.probe_image,
            disruptive=asked.disruptive,
            namespace=asked.namespace or "",
        )
        for point in found.points:
            progress(str(point))
        _require(found.gaps)
        details = {
            "kubernetes": found.kubernetes,
            "kubevirt": found.kubevirt,
            "kubelet-root": asked.kubelet_root,
        }
        if asked.disruptive:
            details[DISRUPTIVE] = "yes"
        if asked.node_ssh:
            details[SSH] = asked.node_ssh
        claim = _claim(spec.run, asked) if spec.run else None
        if claim is not None:
            details |= claim.details()
        if asked.probe_image:
            details[PROBES] = claim.namespace if claim else f"conformance-probe-{name}"
        if not detached:
            details[OWNER] = processes.identity(os.getpid())
        handle = Handle(DESCRIPTION.name, name, str(directory), str(path), details)
        # From here on what is made is found again and removed, whatever happens.
        rundir.write_handle(directory, handle)
        try:
            if claim is not None:
                _take(handle, claim, privileged=bool(asked.probe_image))
            if asked.probe_image:
                self._start_probes(handle, asked.probe_image, progress)
        except BaseException:
            self.down(handle)
            raise
        return handle

    def attach(self, name: str, directory: Path, asked: Settings) -> Handle:
        """Reaches a cluster for somebody who only looks: nothing is asked for that a run needs.

        The directory gets a private copy of the kubeconfig, of the one context.

        Raises:
            ClusterError: the API does not answer, or not to these credentials.
        """
        path = directory / "kubeconfig"
        path.touch(mode=0o600)
        path.write_text(single_context(asked.kubeconfig, asked.context))
        try:
            api = Api(str(path))
            try:
                kubernetes = str(api.get("/version").get("gitVersion", ""))
                found = api.items("/apis/kubevirt.io/v1/kubevirts")
            finally:
                api.close()
        except ApiError as error:
            raise ClusterError(str(error)) from error
        status = (found[0].get("status") or {}) if found else {}
        details = {
            "kubernetes": kubernetes,
            "kubevirt": str(status.get("observedKubeVirtVersion") or ""),
            "kubelet-root": asked.kubelet_root,
            ONLY_LOOKS: "yes",
        }
        if asked.node_ssh:
            details[SSH] = asked.node_ssh
        return Handle(DESCRIPTION.name, name, str(directory), str(path), details)

    def _start_probes(self, handle: Handle, image: str, progress: Progress) -> None:
        """Raises ClusterError when they do not run or show no node."""
        try:
            api = Api(handle.kubeconfig)
            nodes = api.items("/api/v1/nodes", labelSelector=f"{SCHEDULABLE}=true")
            names = [str(node["metadata"]["name"]) for node in nodes]
            namespace, claim = handle.details[PROBES], claim_of(handle)
            mark = claim.mark if claim else None
            probes.start_probes(api, namespace, image, names, progress=progress, mark=mark)
        except ApiError as error:
            raise ClusterError(f"the probes could not be started: {error}") from error
        access = ExistingAccess(handle)
        checkpoint = f"{access.kubelet_root}/{CHECKPOINT}"
        policy_of = functools.partial(configured_policy, api)
        mend = "see that nothing forbids privileged pods there"
        points = node_access(
            nodes, access.node_shell, checkpoint, policy_of, through="a probe", mend=mend
        )
        for point in points:
            progress(str(point))
        _require([point for point in points if point.state is State.GAP])

    def connect(self, handle: Handle) -> ExistingAccess:
        """As `Provider.connect`. Raises ClusterError when the API does not answer."""
        try:
            return ExistingAccess(handle)
        except ApiError as error:
            raise ClusterError(str(error)) from error

    def alive(self, handle: Handle) -> str | None:
        """As `Provider.alive`: whether the API answers these credentials.

        Raises ClusterError when the run's claim is lost.
        """
        owner = handle.details.get(OWNER)
        if owner and not processes.alive(owner):
            return f"the run that used the existing cluster {handle.name} has ended"
        try:
            api = Api(handle.kubeconfig)
            try:
                if claim := claim_of(handle):
                    if why := lost(api, claim):
                        raise ClusterError(why)
                else:
                    api.get("/version")
            finally:
                api.close()
        except ApiError as error:
            return str(error)
        return None

    def down(self, handle: Handle) -> None:
        """Forgets the cluster: removes what the run or its probes left there, the handle and the
        copy of the kubeconfig.

        What a run left that has died is for a sweep, which says what it does. Raises ClusterError
        when something was left behind.
        """
        namespace, claim = handle.details.get(PROBES), claim_of(handle)
        owner = handle.details.get(OWNER)
        try:
            if Path(handle.kubeconfig).exists():
                if claim is not None and owner and not processes.alive(owner):
                    give_up(Api(handle.kubeconfig), claim)
                elif claim is not None:
                    leftovers.end(Api(handle.kubeconfig), claim)
                elif namespace:
                    probes.stop_probes(Api(handle.kubeconfig), namespace)
        except (ApiError, leftovers.LeftError) as error:
            mend = f"`kubectl delete namespace {namespace}` removes it"
            if claim is not None:
                namespace, mend = claim.namespace, f"`{conform()} sweep` removes it later"
            raise ClusterError(
                f"what was made in namespace {namespace} was left behind: {error}; {mend}"
            ) from error
        finally:
            rundir.remove(Path(handle.directory))


def _claim(run: str, asked: Settings) -> Claim:
    mark = Mark(run, asked.owner or whoever_runs_this())
    return Claim(asked.namespace or own_namespace(run), mark, given=asked.namespace is not None)


def _sweep(kubeconfig: str, namespace: str, progress: Progress) -> None:
    """Removes what dead runs have left, before this one is hindered by it."""
    try:
        api = Api(kubeconfig)
        try:
            leftovers.sweep(api, progress, namespace=namespace)
        finally:
            api.close()
    except ApiError as error:
        progress(f"what dead runs may have left is not looked for: {error}")


def _take(handle: Handle, claim: Claim, *, privileged: bool) -> None:
    """Raises ClusterError."""
    try:
        api = Api(handle.kubeconfig)
        try:
            take(api, claim, privileged=privileged)
        finally:
            api.close()
    except ApiError as error:
        raise ClusterError(f"namespace {claim.namespace} could not be claimed: {error}") from error


class ExistingAccess:
    """`clusters.contract.access.ClusterAccess` through the API alone."""

    def __init__(self, handle: Handle) -> None:
        self.kubeconfig = handle.kubeconfig
        self.simulation = False
        self.acceleration = ""
        self.kubelet_root = handle.details.get("kubelet-root", KUBELET_ROOT)
        self.control: NodeControl | None = None
        allowed = DISRUPTIVE in handle.details
        self._disruption = Capability(
            allowed, "--disruptive was given" if allowed else "--disruptive was not given"
        )
        self._only_looks = ONLY_LOOKS in handle.details
        self._api = Api(handle.kubeconfig)
        self._exec = ApiExec(handle.kubeconfig)
        self._handlers: Mapping[str, Handler] = {
            handler.node: handler for handler in handlers(self._api) if handler.trouble is None
        }
        self.nodes, self._shell_of, self._through = self._reach(handle.details)
        self.description = (
            f"KubeVirt {handle.details.get('kubevirt', '')} on Kubernetes "
            f"{handle.details.get('kubernetes', '')} at {self._api.server}, "
            f"{len(self.nodes)} nodes read through {self._through}"
        )

    def _reach(self, details: Mapping[str, str]) -> tuple[tuple[str, ...], ShellOf, str]:
        """Which nodes can be read, how, and through what. Raises ApiError."""
        if SSH in details:
            nodes = self._api.items("/api/v1/nodes", labelSelector=f"{SCHEDULABLE}=true")
            by_name = {str(node["metadata"]["name"]): node for node in nodes}
            command = details[SSH]

            def shell(node: str) -> NodeShell:
                if node not in by_name:
                    raise AccessError(f"there is no node {node} that takes VMIs")
                return probes.CommandShell(command, by_name[node])

            return tuple(sorted(by_name)), shell, f"`{command}`"
        found, label, through = tuple(self._handlers.values()), HANDLER_LABEL, "virt-handler"
        if PROBES in details:
            label, through = f"{probes.PROBE_LABEL}={details[PROBES]}", "probes"
            found = handlers(self._api, label)
        return (
            tuple(sorted(handler.node for handler in found)),
            handler_shells(self._api, self._exec, found, label),
            through,
        )

    def node_shell(self, node: str) -> NodeShell:
        """As `ClusterAccess.node_shell`."""
        return self._shell_of(node)

    @property
    def container_exec(self) -> ContainerExec:
        """As `ClusterAccess.container_exec`."""
        return self._exec

    @functools.cached_property
    def libvirt(self) -> Libvirt:
        """As `ClusterAccess.libvirt`."""
        return VirshLibvirt(self._exec, read_only=self._only_looks)

    @functools.cached_property
    def guest_console(self) -> GuestConsole:
        """As `ClusterAccess.guest_console`."""
        return ApiConsole(self.kubeconfig)

    def capabilities(self) -> Mapping[str, Capability]:
        """As `ClusterAccess.capabilities`; ``smt`` and ``numa`` where any node has it."""
        return {
            "libvirt": Capability(True, "virsh in the launcher's compute container"),
            "node-files": Capability(True, self._through),
            "guest-console": Capability(True, "KubeVirt's console subresource"),
            "hugepages": self._of_nodes(hugepages),
            "realtime": self._of_nodes(realtime),
            "disruption": self._disruption,
            "unlabelled-node": self._unlabelled(),
            "live-migration": self._migration(),
            "kubelet-control": Capability(False, "kubelets of an existing cluster are left alone"),
            **self._topology(),
        }

    def _migration(self) -> Capability:
        try:
            nodes = self._api.items("/api/v1/nodes", labelSelector=f"{SCHEDULABLE}=true")
        except ApiError as error:
            return Capability(None, str(error))
        names = [node["metadata"]["name"] for node in nodes if _pins(node)]
        return migration([name for name in names if name in self.nodes])

    def _unlabelled(self) -> Capability:
        try:
            nodes = self._api.items("/api/v1/nodes", labelSelector=f"{SCHEDULABLE}=true")
        except ApiError as error:
            return Capability(None, str(error))
        names = [node["metadata"]["name"] for node in nodes if not _pins(node)]
        every = "every node that takes VMIs is labelled"
        return Capability(bool(names), f"{', '.join(names)} is not labelled" if names else every)

    def _of_nodes(self, ask: Callable[[Api], Capability]) -> Capability:
        try:
            return ask(self._api)
        except ApiError as error:
            return Capability(None, str(error))

    def _topology(self) -> Mapping[str, Capability]:
        smt, numa = [], []
        siblings = "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list"
        online = "/sys/devices/system/node/online"
        troubles = []
        for node in self.nodes:
            try:
                files = _twice(functools.partial(self.node_shell(node).read, (siblings, online)))
            except AccessError as error:
                troubles.append(str(error))
                continue
            if not files.get(siblings, "0").strip().isdecimal():
                smt.append(node)
            if not files.get(online, "0").strip().isdecimal():
                numa.append(node)
        unread = "; ".join(troubles)
        return {
            "smt": _capability(smt, "more than one thread a core", unread),
            "numa": _capability(numa, "more than one NUMA node", unread),
        }

    def collect_logs(self, destination: str) -> None:
        """As `ClusterAccess.collect_logs`: KubeVirt's objects, pods, events and logs.

        What could not be had is named in ``errors.txt`` there.
        """
        directory = Path(destination)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        errors: list[str] = []

        def keep(file: str, question: Callable[[], str]) -> None:
            try:
                text, path = question(), directory / file
                path.touch(mode=0o600)
                path.write_text(text)
            except ApiError as error:
                errors.append(f"{file}: {error}\n")

        def objects(path: str) -> Callable[[], str]:
            return lambda: json.dumps(_without_secrets(self._api.get(path)), indent=1)

        keep("nodes.json", objects("/api/v1/nodes"))
        keep("kubevirt.json", objects("/apis/kubevirt.io/v1/kubevirts"))
        for namespace in sorted({handler.namespace for handler in self._handlers.values()}):
            keep(f"{namespace}-pods.json", objects(f"/api/v1/namespaces/{namespace}/pods"))
            keep(f"{namespace}-events.json", objects(f"/api/v1/namespaces/{namespace}/events"))
        for node, handler in self._handlers.items():
            keep(f"virt-handler-{node}.log", functools.partial(self._log, handler))
        if errors:
            (directory / "errors.txt").write_text("".join(errors))

    def _log(self, handler: Handler) -> str:
        query: dict[str, Any] = {"container": handler.container, "tailLines": LOG_LINES}
        path = f"/api/v1/namespaces/{handler.namespace}/pods/{handler.pod}/log"
        return self._api.text(path, **query)

    def close(self) -> None:
        """As `ClusterAccess.close`."""
        self._api.close()


_SECRETIVE = frozenset({"env", "envFrom", "command", "args", "annotations", "managedFields"})
"""Members of objects in which passwords may be, and nothing that explains a failure."""


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if key not in _SECRETIVE}
        return {key: _without_secrets(each) for key, each in kept.items()}
    return list(map(_without_secrets, value)) if isinstance(value, list) else value


def _require(gaps: Sequence[Point]) -> None:
    """Raises ClusterError with all gaps when there are any."""
    if gaps:
        raise ClusterError(
            "no run can be made on this cluster:\n"
            + "\n".join(
                f"- {point.subject}: {point.found}" + (f": {point.mend}" if point.mend else "")
                for point in gaps
            )
        )


def _twice(read: Callable[[], Reading]) -> Mapping[str, str]:
    """What a node answers, if need be when it is asked once more. Raises AccessError."""
    try:
        return read().files
    except AccessError:
        return read().files


def _pins(node: Json) -> bool:
    """Whether it is labelled as one with a CPU manager."""
    labels = node["metadata"].get("labels") or {}
    return "true" in {labels.get(key) for key in CPU_MANAGER}


def _capability(nodes: list[str], what: str, unread: str) -> Capability:
    """Nothing is known to be lacking as long as a node has not answered."""
    if nodes:
        return Capability(True, f"{what} on {', '.join(nodes[:3])}")
    if unread:
        return Capability(
            None, f"no node was seen with {what}, and not every one was read: {unread}"
        )
    return Capability(False, f"no node was seen with {what}")


PROVIDER: Provider = ExistingProvider()
