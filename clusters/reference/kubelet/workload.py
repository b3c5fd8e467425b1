"""What a kubelet gives to a container of an image: its process, volumes, service account.

kubernetes pkg/kubelet/kubelet_pods.go, plugin/pkg/admission/serviceaccount. Of volumes there is
``emptyDir`` alone; a container's root is always read-only; pods have the network of their node; no
seccomp profile is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from clusters.kit.oci_images import Image
from clusters.reference.apiserver.store import Object
from clusters.reference.machine import Inside, Mount, NodeError

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
HOSTS = "/etc/hosts"
PODS = "/var/lib/kubelet/pods"


@dataclass(frozen=True)
class ApiForPods:
    """How the API is reached from inside of a pod.

    Attributes:
        authority: PEM of the authority of its certificate.
        token_of: makes a token of a service account, by namespace and name.
    """

    host: str
    port: int
    authority: bytes
    token_of: Callable[[str, str], str]


@dataclass
class Workloads:
    """What containers run beside the programs of the stack itself.

    Attributes:
        images: by name; None where nodes run no programs at all.
        api: set when the API is served, which is before any pod is.
    """

    images: Mapping[str, Image] | None = None
    api: ApiForPods | None = None

    def image_of(self, container: Object) -> Image | None:
        """The image of a container of a pod, None for one that is not here."""
        return (self.images or {}).get(container.get("image", ""))


def directory_of(uid: str) -> str:
    """Where a node has what it keeps for a pod."""
    return f"{PODS}/{uid}"


def command(container: Object, image: Image) -> tuple[str, ...]:
    """What it runs. Source: kubernetes docs, "Define a Command and Arguments for a Container"."""
    args = tuple(container.get("args") or ())
    if container.get("command"):
        return (*container["command"], *args)
    return (*image.entrypoint, *(args or image.arguments))


def environment(container: Object, image: Image, api: ApiForPods) -> Mapping[str, str]:
    """Of its process. Raises NodeError for a value from elsewhere."""
    own = {}
    for each in container.get("env") or ():
        if "valueFrom" in each:
            raise NodeError(f"the reference stack gives no value to the variable {each['name']}")
        own[each["name"]] = each.get("value", "")
    service = {"KUBERNETES_SERVICE_HOST": api.host, "KUBERNETES_SERVICE_PORT": str(api.port)}
    return {**dict(image.environment), **service, **own}


def inside(pod: Object, container: Object, image: Image) -> Inside:
    """How it is started. Raises NodeError for a volume that there is not."""
    common = pod["spec"].get("securityContext") or {}
    context = {**common, **(container.get("securityContext") or {})}
    dropped = (context.get("capabilities") or {}).get("drop") or ()
    shared = common.get("fsGroup")
    groups = (*(() if shared is None else (shared,)), *(common.get("supplementalGroups") or ()))
    return Inside(
        image=image,
        user=context.get("runAsUser", image.user),
        group=context.get("runAsGroup", 0),
        groups=groups,
        directory=container.get("workingDir") or image.directory,
        capable="ALL" not in dropped,
        escalates=context.get("allowPrivilegeEscalation", True),
        mounts=tuple(_mounts(pod, container, shared or 0)),
    )


def files(pod: Object, api: ApiForPods) -> Mapping[str, str]:
    """Of the node, by path: what the pod's service account is known by."""
    namespace = pod["metadata"]["namespace"]
    account = pod["spec"].get("serviceAccountName") or "default"
    place = _account(pod)
    return {
        f"{place}/token": api.token_of(namespace, account),
        f"{place}/ca.crt": api.authority.decode(),
        f"{place}/namespace": namespace,
    }


def _mounts(pod: Object, container: Object, group: int) -> Iterator[Mount]:
    yield Mount(HOSTS, HOSTS, read_only=True)
    yield Mount(SERVICE_ACCOUNT, _account(pod), read_only=True)
    volumes = {each["name"]: each for each in pod["spec"].get("volumes") or ()}
    for mount in container.get("volumeMounts") or ():
        name = mount["name"]
        if "emptyDir" not in volumes.get(name, {}) or mount.get("subPath"):
            raise NodeError(f"the reference stack has emptyDir volumes alone, and {name} is none")
        source = f"{_volumes(pod)}/kubernetes.io~empty-dir/{name}"
        yield Mount(mount["mountPath"], source, bool(mount.get("readOnly")), group)


def _account(pod: Object) -> str:
    return f"{_volumes(pod)}/kubernetes.io~projected/service-account"


def _volumes(pod: Object) -> str:
    return f"{directory_of(pod['metadata']['uid'])}/volumes"
