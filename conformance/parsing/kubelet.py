"""What the kubelet says: its CPU manager's checkpoint and its configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import yaml

from conformance import safe_yaml
from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Checkpoint, Kubelet
from conformance.parsing.cpulist import cpulist
from conformance.parsing.errors import ParseError
from conformance.parsing.quantity import milli

_KNOWN = frozenset({"policyName", "defaultCpuSet", "entries", "podEntries", "checksum"})
_SPELT = {key.lower(): key for key in _KNOWN}
_MALFORMED = (ValueError, RecursionError)
_DATA, _DATA_CHECKSUM = "data", "dataChecksum"


@lru_cache(maxsize=4096)
def checkpoint(text: str, path: str) -> Checkpoint:
    """Reads ``cpu_manager_state``.

    Source of the forms: kubernetes pkg/kubelet/cm/cpumanager/state/checkpoint.go. Version 2
    has ``policyName``, ``defaultCpuSet``, ``entries`` and ``checksum``; version 3 (1.36, gate
    PodLevelResourceManagers) also ``podEntries``; version 4 (1.37) also the whole state as
    text in ``data``, which leads, with ``dataChecksum``. What is empty is left out. Version 1,
    one CPU list by container id, is refused: kubelets before 1.18 wrote it.

    Keys are in any capitals, as to the kubelet (encoding/json). Further keys are tolerated, and
    named, as long as those that are known have their form. A checksum that does not fit becomes
    a remark: the kubelet compares it when it starts only.

    Raises:
        ParseError: none of these forms.
    """
    written = _object(text, path)
    if _DATA not in written and _DATA_CHECKSUM in written:
        raise ParseError(f"{_DATA} beside {_DATA_CHECKSUM}", text, path)
    if _DATA not in written:
        found = _state(written, text, path)
        return replace(found, remarks=tuple(_unfit(written, path)))
    data = written[_DATA]
    if not isinstance(data, str):
        raise ParseError("the state as text in data", text, path)
    found = _state(_object(data, f"{path} {_DATA}"), data, f"{path} {_DATA}")
    said, right = written.get(_DATA_CHECKSUM), fnv(f"(string){data}")
    remarks = []
    if said != right:
        remarks.append(f"{path}: {_DATA_CHECKSUM} is {said}, and that of its {_DATA} is {right}")
    beside = {key: written.get(key) for key in _KNOWN - {"checksum"} if written.get(key)}
    inside = _object(data, path)
    if beside != {key: inside.get(key) for key in _KNOWN - {"checksum"} if inside.get(key)}:
        remarks.append(f"{path}: what is beside {_DATA} is not what {_DATA} says, which leads")
    return replace(found, path=path, remarks=tuple(remarks))


def _object(text: str, path: str) -> dict[str, Any]:
    try:
        state = json.loads(text)
    except _MALFORMED as error:
        raise ParseError("JSON", text, path) from error
    if not isinstance(state, dict):
        raise ParseError("a JSON object", text, path)
    written: dict[str, Any] = state
    return {_SPELT.get(key.lower(), key): value for key, value in written.items()}


def _state(state: Mapping[str, Any], text: str, path: str) -> Checkpoint:
    """The state in the keys that every version has."""
    policy, default = state.get("policyName"), state.get("defaultCpuSet")
    if not isinstance(policy, str) or not isinstance(default, str):
        raise ParseError("policyName and defaultCpuSet as text", text, path)
    if not isinstance(state.get("checksum", 0), int):
        raise ParseError("checksum as a number", text, path)
    pods, shares = state.get("entries") or {}, state.get("podEntries") or {}
    if not isinstance(pods, dict) or not isinstance(shares, dict):
        raise ParseError("entries and podEntries by pod UID", text, path)
    entries: dict[tuple[str, str], CpuSet] = {}
    for uid, containers in pods.items():
        if not isinstance(containers, dict):
            raise ParseError(
                "entries by pod UID and container; this is version 1, of kubelets before 1.18",
                text,
                path,
            )
        for name, cpus in containers.items():
            if not isinstance(cpus, str):
                raise ParseError("a CPU list for every container", text, path)
            entries[uid, name] = cpulist(cpus, f"{path} entries.{uid}.{name}")
    of_pods: dict[str, CpuSet] = {}
    for uid, share in shares.items():
        if not isinstance(share, dict) or not isinstance(share.get("cpuSet"), str):
            raise ParseError("cpuSet for every pod of podEntries", text, path)
        of_pods[uid] = cpulist(share["cpuSet"], f"{path} podEntries.{uid}")
    return Checkpoint(
        policy,
        cpulist(default, f"{path} defaultCpuSet"),
        entries,
        path,
        of_pods,
        unknown=tuple(sorted(state.keys() - _KNOWN)),
    )


def _unfit(state: Mapping[str, Any], path: str) -> Iterator[str]:
    """A remark on the checksum of version 2: of the struct as go-spew prints it, with 0 for it.

    Source: kubernetes pkg/kubelet/checkpointmanager/checksum; 0 stands for none.
    """
    said = state.get("checksum", 0)
    if not said or state.keys() - _KNOWN or "podEntries" in state:
        return
    entries = " ".join(
        f"{uid}:map[{' '.join(f'{name}:{cpus}' for name, cpus in sorted(containers.items()))}]"
        for uid, containers in sorted((state.get("entries") or {}).items())
    )
    printed = (
        f"{{PolicyName:(string){state['policyName']} "
        f"DefaultCPUSet:(string){state['defaultCpuSet']} "
        f"Entries:(map[string]map[string]string)map[{entries}] Checksum:(checksum.Checksum)0}}"
    )
    names = ("CPUManagerCheckpoint", "CPUManagerCheckpointV2")
    right = [fnv(f"(*state.{name}){printed}") for name in names]
    if said not in right:
        yield f"{path}: checksum is {said}, and that of its content is {right[0]}"


def fnv(text: str) -> int:
    """FNV-1a of 32 bits."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


@lru_cache(maxsize=256)
def kubelet(text: str, source: str) -> Kubelet:
    """Reads the kubelet's configuration.

    Args:
        text: a KubeletConfiguration in YAML, or the JSON of ``/configz``. Of several documents
            that are not empty the first is read, as the kubelet does.
        source: where the text came from.

    Raises:
        ParseError: neither of the two, or a CPU setting of another type.
    """
    try:
        loaded = json.loads(text) if text.lstrip().startswith("{") else _document(text, source)
    except (yaml.YAMLError, *_MALFORMED) as error:
        if isinstance(error, ParseError):
            raise
        raise ParseError("YAML or JSON", text, source) from error
    if not isinstance(loaded, dict):
        raise ParseError("a KubeletConfiguration", text, source)
    config: Any = loaded.get("kubeletconfig", loaded)
    if not isinstance(config, dict) or (
        config is loaded and config.get("kind") != "KubeletConfiguration"
    ):
        raise ParseError("kind KubeletConfiguration, or kubeletconfig of /configz", text, source)
    reserved = _text(config, "reservedSystemCPUs", source)
    options = config.get("cpuManagerPolicyOptions") or {}
    if not isinstance(options, dict) or not all(
        isinstance(value, str | bool) for value in options.values()
    ):
        raise ParseError("cpuManagerPolicyOptions by name", str(options), source)
    return Kubelet(
        # The default of both is "none" (pkg/kubelet/apis/config/v1beta1/defaults.go).
        policy=_text(config, "cpuManagerPolicy", source) or "none",
        reserved=cpulist(reserved, f"{source} reservedSystemCPUs") if reserved else None,
        options={str(name): str(value) for name, value in options.items()},
        source=source,
        topology_policy=_text(config, "topologyManagerPolicy", source) or "none",
        topology_scope=_text(config, "topologyManagerScope", source) or "container",
        reserved_milli=_reserved_milli(config, source),
        reconcile_seconds=_seconds(_text(config, "cpuManagerReconcilePeriod", source)),
    )


def _document(text: str, source: str) -> object:
    """The first document of a YAML file that is not empty."""
    for each in safe_yaml.documents(text):
        if each is not None:
            return each
    raise ParseError("a KubeletConfiguration", text, source)


def _reserved_milli(config: Mapping[str, Any], source: str) -> int | None:
    """What is reserved by number (kubernetes pkg/kubelet/cm, NodeAllocatableReservation)."""
    found = []
    for key in ("kubeReserved", "systemReserved"):
        amounts = config.get(key) or {}
        if not isinstance(amounts, dict):
            raise ParseError(f"{key} by resource", str(amounts), source)
        if "cpu" in amounts:
            found.append(milli(amounts["cpu"], f"{source} {key}.cpu"))
    return sum(found) if found else None


def _seconds(text: str) -> float:
    """A duration as Go writes it, such as ``10s`` or ``1m30s``; 10 s where there is none.

    Source: kubernetes pkg/kubelet/apis/config/v1beta1/defaults.go, CPUManagerReconcilePeriod.
    """
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|m|s)", text)
    return sum(float(number) * units[unit] for number, unit in parts) or 10.0


def _text(config: Mapping[str, Any], key: str, source: str) -> str:
    value = config.get(key, "")
    # An unquoted `reservedSystemCPUs: 0` is a number to YAML; the kubelet takes it as text.
    if value is None or isinstance(value, str | int):
        return "" if value is None else str(value)
    raise ParseError(f"{key} as text", value, source)
