"""The setting of a cluster, from the API's objects as they were recorded.

Source of the fields: kubevirt api/core/v1/types.go (KubeVirtConfiguration), kubernetes
core/v1 (NodeSystemInfo), apimachinery version.Info and APIGroup.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.model.evidence import Json, Resources
from conformance.model.setting import UNKNOWN, Setting, Software
from conformance.model.vocabulary import EVEN_PARITY
from conformance.parsing.errors import ParseError
from conformance.parsing.moments import moment
from conformance.parsing.quantity import milli, whole

_ALIGN_CPUS = "AlignCPUs"


def setting(recorded: Json | None) -> Setting:
    """Reads what `conformance.collecting.setting` recorded; never raises.

    A part of another form than expected is unread, with its reason.
    """
    if not isinstance(recorded, Mapping):
        return UNKNOWN
    unread = {str(part): str(why) for part, why in _mapping(recorded.get("unread")).items()}
    found: dict[str, Any] = {}
    for part, read in (
        ("kubernetes", _kubernetes),
        ("kubevirt", _kubevirt),
        ("served", _served),
        ("nodes", _nodes),
    ):
        try:
            found |= read(recorded.get(part))
        except (ParseError, AttributeError, KeyError, TypeError, ValueError) as error:
            unread.setdefault(part, f"it is not what was expected: {error}")
    return Setting(**found, unread=unread)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _kubernetes(answer: Any) -> dict[str, Any]:
    return {"kubernetes": str(answer["gitVersion"])} if answer else {}


def _kubevirt(cr: Any) -> dict[str, Any]:
    if not cr:
        return {}
    configuration = (cr.get("spec") or {}).get("configuration") or {}
    developer = configuration.get("developerConfiguration") or {}
    gates = frozenset(map(str, developer.get("featureGates") or ()))
    disabled = frozenset(map(str, developer.get("disabledFeatureGates") or ()))
    annotations = (cr.get("metadata") or {}).get("annotations") or {}
    most = (configuration.get("liveUpdateConfiguration") or {}).get("maxCpuSockets")
    return {
        "kubevirt": str((cr.get("status") or {}).get("observedKubeVirtVersion") or ""),
        "gates": gates,
        "disabled_gates": disabled,
        "even_parity": _ALIGN_CPUS in gates - disabled and EVEN_PARITY in annotations,
        "support_limits": {
            str(each["type"]): _limits(each)
            for each in configuration.get("supportContainerResources") or ()
        },
        "max_cpu_sockets": most if type(most) is int else None,
        **_machines(configuration),
        "default_architecture": str(
            (cr.get("status") or {}).get("defaultArchitecture")
            or (configuration.get("architectureConfiguration") or {}).get("defaultArchitecture")
            or ""
        ),
        "changed": max(
            filter(None, (moment(each.get("time")) for each in _managed(cr))), default=None
        ),
        "rollout_strategy": str(configuration.get("vmRolloutStrategy") or ""),
    }


def _managed(cr: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return (cr.get("metadata") or {}).get("managedFields") or []


def _machines(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of machine types, for every architecture and for each (virt-config.go)."""
    by_architecture = configuration.get("architectureConfiguration") or {}
    said = {"": configuration}
    said |= {name: each for name, each in by_architecture.items() if isinstance(each, Mapping)}
    return {
        "emulated_machines": {
            str(name): tuple(map(str, each["emulatedMachines"]))
            for name, each in said.items()
            if each and each.get("emulatedMachines")
        },
        "machine_types": {
            str(name): str(each["machineType"])
            for name, each in said.items()
            if each and each.get("machineType")
        },
    }


def _limits(each: Mapping[str, Any]) -> Resources:
    """Zero is the same as nothing (virt-config.go, GetSupportContainerLimit)."""
    limits = (each.get("resources") or {}).get("limits") or {}
    source = f"supportContainerResources {each['type']}"
    cpu = milli(limits["cpu"], f"{source} cpu") if "cpu" in limits else 0
    memory = whole(limits["memory"], f"{source} memory") if "memory" in limits else 0
    return Resources(cpu or None, memory or None)


def _served(group: Any) -> dict[str, Any]:
    if not group:
        return {}
    return {"served": frozenset(str(each["version"]) for each in group["versions"])}


def _nodes(nodes: Any) -> dict[str, Any]:
    return {
        "nodes": {
            str(name): Software(
                kubelet=str(info.get("kubeletVersion", "")),
                runtime=str(info.get("containerRuntimeVersion", "")),
                kernel=str(info.get("kernelVersion", "")),
                os_image=str(info.get("osImage", "")),
                architecture=str(info.get("architecture", "")),
            )
            for name, info in (nodes or {}).items()
        }
    }
