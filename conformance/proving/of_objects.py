"""Saboteurs of what the API says: admission, phases, classes of service, resources, sidecars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.model.vocabulary import COMPUTE, REFUSED
from conformance.proving.saboteur import spoils
from conformance.proving.scene import NothingToSpoilError, Scene

_CPU = "spec.domain.cpu"

# The VMI's own class


@spoils("QOS-VMI", alone=True)
def vmi_says_burstable(scene: Scene) -> Scene:
    """The VMI's status has the class Burstable."""
    return _says(scene, "Burstable")


@spoils("QOS-VMI", alone=True)
def vmi_says_best_effort(scene: Scene) -> Scene:
    """The VMI's status has the class BestEffort."""
    return _says(scene, "BestEffort")


def _says(scene: Scene, qos_class: str) -> Scene:
    if not scene.raw.manifest["spec"]["domain"].get("cpu", {}).get("dedicatedCpuPlacement"):
        raise NothingToSpoilError("a VMI with dedicated CPUs")
    return scene.vmi(lambda vmi: vmi["status"].update(qosClass=qos_class))


# Admission


@spoils("ADM-ACCEPT", alone=True)
def refuses_dedicated_cpus(scene: Scene) -> Scene:
    """The webhook refuses a consistent VMI for dedicatedCpuPlacement."""
    return _refused(scene, f"{_CPU}.dedicatedCpuPlacement", "not allowed on this cluster")


@spoils("ADM-ACCEPT", alone=True)
def refuses_threads(scene: Scene) -> Scene:
    """The webhook refuses a consistent VMI for its number of threads."""
    return _refused(scene, f"{_CPU}.threads", "must be 1")


@spoils("ADM-ACCEPT", alone=True)
def refuses_limits(scene: Scene) -> Scene:
    """The webhook refuses a consistent VMI for its CPU limit."""
    return _refused(
        scene, "spec.domain.resources.limits.cpu", "requests or limits must be equal for CPU"
    )


def _refused(scene: Scene, field: str, message: str) -> Scene:
    """The API refused the VMI, as KubeVirt's webhook does, for a field."""
    return scene.but(
        vmi=None,
        pod=None,
        pods=(),
        domain=None,
        console=None,
        files={},
        events=(),
        rejection={
            "kind": "Status",
            "status": "Failure",
            "code": 422,
            "reason": "Invalid",
            "message": _denied(message),
            "details": {"causes": [{"field": field, "message": message}]},
        },
        not_observed={"pod": "the VMI was refused"},
    )


def _denied(message: str) -> str:
    """What the API says when KubeVirt's webhook refuses a VMI."""
    webhook = "virtualmachineinstances-create-validator.kubevirt.io"
    return f'admission webhook "{webhook}" denied the request: {message}'


@spoils("ADM-REFUSE", moment=REFUSED, alone=True, bug="kubevirt#11749")
def admits_it(scene: Scene) -> Scene:
    """The API admits an inconsistent VMI and stores it."""
    name = scene.raw.manifest["metadata"]["name"]
    stored = {
        "metadata": {"namespace": "default", "name": name, "uid": "0000-admitted"},
        "status": {"phase": "Pending"},
    }
    left = {key: why for key, why in scene.raw.not_observed.items() if key != "vmi"}
    return scene.but(rejection=None, vmi=stored, not_observed=left)


@spoils("ADM-REFUSE", moment=REFUSED, alone=True)
def names_another_field(scene: Scene) -> Scene:
    """The refusal is for a field that is not at fault."""
    return _blames(scene, "spec.domain.resources.requests.memory", f"{_CPU}.model")


@spoils("ADM-REFUSE", moment=REFUSED, alone=True)
def names_the_sibling_of_the_field(scene: Scene) -> Scene:
    """The refusal is for another number of the same topology."""
    return _blames(scene, f"{_CPU}.maxSockets", f"{_CPU}.numa.guestMappingPassthrough")


def _blames(scene: Scene, *fields: str) -> Scene:
    """Refused for the first of these fields that the right answer does not name."""
    refused = scene.seen.rejection
    if refused is None or not any(field for field, _message in refused.causes):
        raise NothingToSpoilError("a refusal that names a field")
    named = [field for field, _message in refused.causes]
    for field in fields:
        if field not in named:
            causes = [{"field": field, "message": "is wrong", "reason": "FieldValueInvalid"}]
            return scene.answer(details={"causes": causes}, message=_denied(f"{field} is wrong"))
    raise NothingToSpoilError("another field")


# Starting


@spoils("RUN-STARTED", alone=True)
def fails(scene: Scene) -> Scene:
    """The VMI fails after it was scheduled."""
    return scene.failed()


@spoils("RUN-STARTED", alone=True, bug="kubevirt#16395")
def launcher_panics(scene: Scene) -> Scene:
    """The launcher panics while it pins, and the VMI fails."""
    return _ended(scene, "panic: runtime error: invalid memory address or nil pointer dereference")


@spoils("RUN-STARTED", "QOS-POD", alone=True)
def kubelet_cannot_allocate(scene: Scene) -> Scene:
    """The kubelet finds no CPUs although the scheduler counted them: the pod fails."""

    def failed(pod: Any) -> None:
        message = "Allocate failed due to not enough cpus available to satisfy request"
        pod["status"].update(phase="Failed", reason="UnexpectedAdmissionError", message=message)

    return scene.pod(failed).failed()


def _ended(scene: Scene, message: str) -> Scene:
    def end(pod: Any) -> None:
        pod["status"]["phase"] = "Failed"
        for each in pod["status"]["containerStatuses"]:
            if each["name"] == COMPUTE:
                each["state"] = {"terminated": {"exitCode": 2, "message": message}}

    return scene.pod(end).failed()


# Classes of service


@spoils("QOS-POD", alone=True)
def is_burstable(scene: Scene) -> Scene:
    """The API calls the pod Burstable."""
    return scene.pod(lambda pod: pod["status"].update(qosClass="Burstable"))


@spoils("QOS-POD", alone=True)
def is_best_effort(scene: Scene) -> Scene:
    """The API calls the pod BestEffort."""
    return scene.pod(lambda pod: pod["status"].update(qosClass="BestEffort"))


@spoils("QOS-POD", "QOS-CONTAINERS", "SIDE-RESOURCES", bug="kubevirt#10005")
def is_burstable_by_a_container(scene: Scene) -> Scene:
    """A container without limits makes the pod Burstable."""
    return is_burstable(_unlimited(scene, _other(scene)))


@spoils("QOS-CONTAINERS", "SIDE-RESOURCES", alone=True, bug="kubevirt#10005")
def has_no_limits(scene: Scene) -> Scene:
    """A container beside compute has no limits."""
    return _unlimited(scene, _other(scene))


@spoils("QOS-CONTAINERS", "SIDE-RESOURCES", alone=True)
def requests_less_memory(scene: Scene) -> Scene:
    """Compute requests less memory than it is limited to."""
    return scene.container(COMPUTE, lambda each: _requests(each).update(memory="1Mi"))


@spoils("QOS-CONTAINERS", "SIDE-RESOURCES", alone=True)
def requests_less_cpu(scene: Scene) -> Scene:
    """A container beside compute requests less CPU than it is limited to."""
    return scene.container(_other(scene), lambda each: _requests(each).update(cpu="1m"))


@spoils("QOS-CONTAINERS", "SIDE-RESOURCES", alone=True)
def init_container_without_memory(scene: Scene) -> Scene:
    """An init container expresses no memory."""

    def edit(each: Any) -> None:
        for kind in ("requests", "limits"):
            each["resources"].get(kind, {}).pop("memory", None)

    for each in scene.launcher.containers:
        if "init" in each.role:
            return scene.container(each.name, edit)
    raise NothingToSpoilError("an init container")


@spoils("QOS-INTEGER", "QOS-CONTAINERS", alone=True)
def requests_half_a_cpu_less(scene: Scene) -> Scene:
    """Compute requests half a CPU less."""
    less = _milli(scene) - 500
    return scene.container(COMPUTE, lambda each: _requests(each).update(cpu=f"{less}m"))


@spoils("QOS-INTEGER", "CPU-COUNT")
def is_limited_to_a_fraction(scene: Scene) -> Scene:
    """Compute requests a tenth of a CPU more, and is limited to as much."""
    more = f"{_milli(scene) + 100}m"

    def edit(each: Any) -> None:
        for kind in ("requests", "limits"):
            each["resources"][kind]["cpu"] = more

    return scene.container(COMPUTE, edit)


@spoils("QOS-INTEGER", "QOS-CONTAINERS", alone=True)
def requests_no_cpu(scene: Scene) -> Scene:
    """Compute requests no CPU at all."""
    return scene.container(COMPUTE, lambda each: _requests(each).pop("cpu"))


def _requests(container: Any) -> dict[str, str]:
    found: dict[str, str] = container["resources"]["requests"]
    return found


def _milli(scene: Scene) -> int:
    milli = scene.launcher.compute.requests.cpu_milli if scene.launcher.compute else None
    if not milli:
        raise NothingToSpoilError("a CPU request of compute")
    return milli


def _other(scene: Scene) -> str:
    """A container beside compute that the class of service counts."""
    for each in scene.launcher.containers:
        if each.name != COMPUTE and each.role != "ephemeral" and each.limits.cpu_milli:
            return each.name
    raise NothingToSpoilError("a container beside compute with limits")


def _unlimited(scene: Scene, name: str) -> Scene:
    return scene.container(name, lambda each: each["resources"].pop("limits"))


# Sidecars


@spoils("SIDE-RESOURCES", alone=True)
def costs_half(scene: Scene) -> Scene:
    """The hook sidecar costs half of the CPU that is promised."""
    return _hook(scene, {"cpu": "100m"})


@spoils("SIDE-RESOURCES", alone=True)
def costs_less_memory(scene: Scene) -> Scene:
    """The hook sidecar costs less memory than is promised."""
    return _hook(scene, {"memory": "32M"})


@spoils("SIDE-RESOURCES", "SIDE-UNPINNED", alone=True)
def hook_is_missing(scene: Scene) -> Scene:
    """The launcher pod has no hook sidecar."""
    name = _hooks(scene)

    def edit(pod: Any) -> None:
        left = [each for each in pod["spec"]["containers"] if each["name"] != name]
        pod["spec"]["containers"] = left

    return scene.pod(edit)


def _hooks(scene: Scene) -> str:
    for each in scene.launcher.containers:
        if each.name.startswith("hook-sidecar-"):
            return each.name
    raise NothingToSpoilError("a hook sidecar")


def _hook(scene: Scene, amount: Mapping[str, str]) -> Scene:
    def edit(each: Any) -> None:
        for kind in ("requests", "limits"):
            each["resources"][kind].update(amount)

    return scene.container(_hooks(scene), edit)
