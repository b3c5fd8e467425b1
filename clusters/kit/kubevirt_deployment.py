"""Deploys KubeVirt on a cluster: its operator, its CR, and what there is to wait for.

Knows a kubeconfig and nothing of who made the cluster.
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from clusters.contract.provider import ClusterError, Progress
from clusters.host import download
from clusters.kit.api import Api, ApiError
from clusters.kit.deployment_troubles import holds, pod_troubles, why
from clusters.kit.waiting import NotReadyError, wait

Object = dict[str, Any]

NONE = "none"
"""As a source: KubeVirt is there already, or is not wanted."""
VERSION = "v1.8.4"
RELEASE = f"https://github.com/kubevirt/kubevirt/releases/download/{VERSION}/kubevirt-operator.yaml"
RELEASE_SHA256 = "d1d8264eec5b802c122bec6c54d8c3b11e119ee2a5c75602aaa8b53ea3857eda"
FEATURE_GATES = ("CPUManager", "NUMA", "Sidecar")
"""What profile ``v1`` promises rests on these."""

ANSWER_SECONDS = 60.0
OPERATOR_SECONDS = 120.0
"""For the API server to serve the types of the manifests, and to let their objects in."""
PULL_SECONDS = 120.0
"""How long a kubelet may fail to have an image: longer, and waiting for it is in vain."""

_PULL_FAILED = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"}
_PROBED = (("Deployment", "virt-controller"), ("DaemonSet", "virt-handler"))
"""Components that virt-operator deploys with a livenessProbe (kubevirt
pkg/virt-operator/resource/generate/components). A readinessProbe ends nobody."""


@dataclass(frozen=True)
class Settings:
    """What is deployed, and how.

    Attributes:
        source: of the operator's manifests: a URL, a file, or a directory of ``*.yaml``. A
            KubeVirt CR among them is kept and completed; without one it is made.
        use_emulation: guests run without KVM.
        start_delay_seconds: how long components may take to start before one that does not
            answer is ended; 0 leaves their probes alone. Where CPUs are emulated they take minutes.
        disabled_gates: feature gates that are on by default and shall not be, such as
            ``ImageVolume`` for a container runtime without image volumes.
        replicas: of each component that has any; 0 leaves what manifests and operator choose.
        seconds: for KubeVirt to become available.
    """

    source: str = RELEASE
    use_emulation: bool = False
    start_delay_seconds: int = 0
    disabled_gates: Sequence[str] = ()
    replicas: int = 0
    seconds: float = 1200.0


def deploy(
    kubeconfig: str,
    settings: Settings,
    progress: Progress,
    require_alive: Callable[[], None] = lambda: None,
) -> str:
    """Applies operator and CR, and returns KubeVirt's version once it is available.

    May be repeated: what is there already is brought to what is wanted.

    Args:
        kubeconfig: an administrator's.
        settings: what is deployed.
        progress: is told what is waited for.
        require_alive: raises ClusterError when it is in vain to wait on.

    Raises:
        ClusterError: the manifests cannot be used, or KubeVirt did not become available; the
            message gives the reasons that operator, pods and events tell.
    """
    progress(f"deploying KubeVirt from {settings.source}")
    others, cr = prepare(manifests(settings.source), settings)
    try:
        api = Api(kubeconfig)
        try:
            for content in (*others, cr):
                require_alive()
                _apply(api, content, progress)
            return _await_available(api, cr, settings.seconds, progress, require_alive)
        finally:
            api.close()
    except ApiError as error:
        raise ClusterError(f"KubeVirt could not be deployed: {error}") from error


# manifests


def require_usable(source: str) -> None:
    """Reads the manifests of a source, so that bad ones are told before there is a cluster.

    Raises:
        ClusterError: they are not there, or none of an operator.
    """
    prepare(manifests(source), Settings(source))


def manifests(source: str) -> list[Object]:
    """The objects that a source names, in its order. Raises ClusterError."""
    texts = (
        [_fetched(source)]
        if source.startswith(("https://", "http://"))
        else [_text(path) for path in _paths(Path(source))]
    )
    try:
        found = [content for text in texts for content in yaml.safe_load_all(text) if content]
    except yaml.YAMLError as error:
        raise ClusterError(f"--kubevirt {source} is no YAML: {error}") from error
    strange = [content for content in found if not _is_object(content)]
    if strange or not found:
        what = f"{str(strange[0])[:80]!r}" if strange else "nothing"
        raise ClusterError(
            f"--kubevirt {source} holds {what}, which is no Kubernetes object: give a release's "
            "kubevirt-operator.yaml"
        )
    return found


def _is_object(content: object) -> bool:
    return isinstance(content, dict) and {"apiVersion", "kind", "metadata"} <= content.keys()


def _paths(source: Path) -> list[Path]:
    if not source.exists():
        raise ClusterError(
            f"--kubevirt {source} is not there: give the URL of a kubevirt-operator.yaml, a file, "
            f"a directory of them, or `{NONE}`"
        )
    return sorted(source.glob("*.yaml")) if source.is_dir() else [source]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterError(f"--kubevirt: {path} cannot be read: {error}") from error


def _fetched(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
            data: bytes = answer.read()
    except OSError as error:
        raise ClusterError(
            f"{url} cannot be fetched ({error}): give --kubevirt FILE or DIR with a release's "
            "kubevirt-operator.yaml, and --images DIR with its images"
        ) from error
    if url == RELEASE:
        download.require(url, hashlib.sha256(data), RELEASE_SHA256, "give --kubevirt FILE")
    return data.decode(errors="backslashreplace")


def prepare(found: Sequence[Object], settings: Settings) -> tuple[list[Object], Object]:
    """The objects in the order of their needs, and the KubeVirt CR as it shall be.

    Raises:
        ClusterError: there is more than one CR.
    """
    crs = [content for content in found if content["kind"] == "KubeVirt"]
    if len(crs) > 1:
        raise ClusterError(f"--kubevirt {settings.source} holds {len(crs)} KubeVirt CRs, not one")
    others = [copy.deepcopy(content) for content in found if content["kind"] != "KubeVirt"]
    first = ("Namespace", "CustomResourceDefinition")
    others.sort(key=lambda content: first.index(content["kind"]) if content["kind"] in first else 2)
    for deployment in (content for content in others if content["kind"] == "Deployment"):
        if settings.replicas:
            deployment["spec"]["replicas"] = settings.replicas
        if settings.start_delay_seconds:
            for container in deployment["spec"]["template"]["spec"]["containers"]:
                _delay(container, settings.start_delay_seconds)
    if not _can_disable_gates(others):
        settings = replace(settings, disabled_gates=())
    return others, kubevirt_cr(crs[0] if crs else None, settings)


def _can_disable_gates(manifests: Sequence[Object]) -> bool:
    """Whether the release's CR has ``disabledFeatureGates``: 1.8 and later do.

    The API server refuses a field that the schema does not declare; without the field, alphas
    are off anyway.
    """
    schemas = [
        content
        for content in manifests
        if content["kind"] == "CustomResourceDefinition"
        and content["metadata"]["name"] == "kubevirts.kubevirt.io"
    ]
    return all('"disabledFeatureGates"' in json.dumps(schema) for schema in schemas)


def _delay(container: Object, seconds: int) -> None:
    for probe in ("livenessProbe", "startupProbe"):
        if probe in container:
            container[probe]["initialDelaySeconds"] = seconds


def kubevirt_cr(given: Object | None, settings: Settings) -> Object:
    """The KubeVirt CR: the given one, with what the settings ask for beside what it has."""
    cr = copy.deepcopy(given) or {
        "apiVersion": "kubevirt.io/v1",
        "kind": "KubeVirt",
        "metadata": {"name": "kubevirt", "namespace": "kubevirt"},
        "spec": {"imagePullPolicy": "IfNotPresent"},
    }
    spec = cr.setdefault("spec", {})
    developer = spec.setdefault("configuration", {}).setdefault("developerConfiguration", {})
    developer["featureGates"] = sorted({*FEATURE_GATES, *(developer.get("featureGates") or ())})
    if settings.use_emulation:
        developer["useEmulation"] = True
    if settings.disabled_gates:
        developer["disabledFeatureGates"] = sorted(
            {*settings.disabled_gates, *(developer.get("disabledFeatureGates") or ())}
        )
    if settings.replicas:
        spec["infra"] = {**(spec.get("infra") or {}), "replicas": settings.replicas}
    if settings.start_delay_seconds:
        components = spec.setdefault("customizeComponents", {})
        components["patches"] = [
            *(components.get("patches") or ()),
            *_delays(settings.start_delay_seconds),
        ]
    return cr


def _delays(seconds: int) -> Iterator[Object]:
    for kind, name in _PROBED:
        container = {"name": name, "livenessProbe": {"initialDelaySeconds": seconds}}
        yield {
            "resourceType": kind,
            "resourceName": name,
            "type": "strategic",
            "patch": json.dumps({"spec": {"template": {"spec": {"containers": [container]}}}}),
        }


# the cluster


def _apply(api: Api, content: Object, progress: Progress) -> None:
    """Applies one object as soon as its type is served and its admission answers."""
    name = f"{content['kind']} {content['metadata']['name']}"

    def missing() -> str | None:
        try:
            place = _place(api, content)
            if place is None:
                return f"{content['apiVersion']} {content['kind']} is not served yet"
            api.apply(place, content)
        except ApiError as error:
            # 500: an admission webhook that is to come up yet.
            if error.code in {0, 429, 500, 503}:
                return f"{name} is not accepted yet: {error}"
            raise ClusterError(f"{name} is refused: {error}") from error
        return None

    wait(name, missing, OPERATOR_SECONDS, progress)


def _place(api: Api, content: Mapping[str, Any]) -> str | None:
    """The path of an object; None while its type is not served."""
    version = content["apiVersion"]
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    try:
        served = api.get(base)["resources"]
    except ApiError as error:
        if error.code == 404:
            return None
        raise
    for resource in served:
        if resource["kind"] == content["kind"] and "/" not in resource["name"]:
            meta = content["metadata"]
            namespace = f"/namespaces/{meta.get('namespace', 'default')}"
            return (
                base + (namespace if resource["namespaced"] else "")
            ) + f"/{resource['name']}/{meta['name']}"
    return None


def _await_available(
    api: Api,
    cr: Mapping[str, Any],
    seconds: float,
    progress: Progress,
    require_alive: Callable[[], None],
) -> str:
    namespace = cr["metadata"]["namespace"]
    path = f"/apis/{cr['apiVersion']}/namespaces/{namespace}/kubevirts/{cr['metadata']['name']}"
    version = ""
    pull_failed: float | None = None

    def missing() -> str | None:
        nonlocal version, pull_failed
        require_alive()
        try:
            status = api.get(path).get("status") or {}
            pods = api.items(f"/api/v1/namespaces/{namespace}/pods")
        except ApiError as error:
            return str(error)
        conditions = {found["type"]: found for found in status.get("conditions") or ()}
        if holds(conditions, "Available") and not holds(conditions, "Degraded"):
            version = str(status.get("observedKubeVirtVersion") or "")
            return None
        troubles = list(pod_troubles(pods))
        if any(trouble.reason in _PULL_FAILED for trouble in troubles):
            pull_failed = pull_failed or time.monotonic()
            if time.monotonic() > pull_failed + PULL_SECONDS:
                raise NotReadyError("an image cannot be had: preload it with --images DIR")
        else:
            pull_failed = None
        first = f"; {troubles[0]}" if troubles else ""
        return f"KubeVirt is {status.get('phase') or 'not looked at by its operator'}{first}"

    try:
        wait("KubeVirt", missing, seconds, progress)
    except NotReadyError as error:
        raise ClusterError(
            "\n- ".join(("KubeVirt did not become available: " + str(error), *why(api, namespace)))
        ) from error
    progress(f"KubeVirt {version} is available")
    return version
