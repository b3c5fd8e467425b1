"""What the kubelet says: its CPU manager's checkpoint and its configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import yaml

from conformance.model.cpuset import CpuSet
from conformance.model.evidence import Checkpoint, Kubelet
from conformance.parsing.cpulist import cpulist
from conformance.parsing.errors import ParseError

_CHECKPOINT_KEYS = frozenset({"policyName", "defaultCpuSet", "entries", "checksum"})


@lru_cache(maxsize=4096)
def checkpoint(text: str, path: str) -> Checkpoint:
    """Reads ``cpu_manager_state``.

    Source of the form: kubernetes pkg/kubelet/cm/cpumanager/state/checkpoint.go, version 2;
    ``entries`` is left out when there is none. The older form, one CPU list by container id,
    is refused: kubelets before 1.18 wrote it.

    Raises:
        ParseError: not that form.
    """
    try:
        state = json.loads(text)
    except ValueError as error:
        raise ParseError("JSON", text, path) from error
    if not isinstance(state, dict):
        raise ParseError("a JSON object", text, path)
    unknown = set(state) - _CHECKPOINT_KEYS
    if unknown or not isinstance(state.get("policyName"), str):
        raise ParseError("policyName, defaultCpuSet, entries and checksum", text, path)
    policy, default = state["policyName"], state.get("defaultCpuSet")
    if not isinstance(default, str) or not isinstance(state.get("checksum", 0), int):
        raise ParseError("defaultCpuSet as text and checksum as a number", text, path)
    entries: dict[tuple[str, str], CpuSet] = {}
    pods = state.get("entries") or {}
    if not isinstance(pods, dict):
        raise ParseError("entries by pod UID", text, path)
    for uid, containers in pods.items():
        if not isinstance(containers, dict):
            raise ParseError("entries by pod UID and container (version 2)", text, path)
        for name, cpus in containers.items():
            if not isinstance(cpus, str):
                raise ParseError("a CPU list for every container", text, path)
            entries[uid, name] = cpulist(cpus, f"{path} entries.{uid}.{name}")
    return Checkpoint(policy, cpulist(default, f"{path} defaultCpuSet"), entries, path)


@lru_cache(maxsize=256)
def kubelet(text: str, source: str) -> Kubelet:
    """Reads the kubelet's configuration.

    Args:
        text: a KubeletConfiguration in YAML, or the JSON of ``/configz``.
        source: where the text came from.

    Raises:
        ParseError: neither of the two, or a CPU setting of another type.
    """
    try:
        loaded = yaml.safe_load(text) if not text.lstrip().startswith("{") else json.loads(text)
    except (yaml.YAMLError, ValueError) as error:
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
    if not isinstance(options, dict):
        raise ParseError("cpuManagerPolicyOptions by name", str(options), source)
    return Kubelet(
        # The default of both is "none" (pkg/kubelet/apis/config/v1beta1/defaults.go).
        policy=_text(config, "cpuManagerPolicy", source) or "none",
        reserved=cpulist(reserved, f"{source} reservedSystemCPUs") if reserved else None,
        options={str(name): str(value) for name, value in options.items()},
        source=source,
        topology_policy=_text(config, "topologyManagerPolicy", source) or "none",
    )


def _text(config: Mapping[str, Any], key: str, source: str) -> str:
    value = config.get(key, "")
    # An unquoted `reservedSystemCPUs: 0` is a number to YAML; the kubelet takes it as text.
    if value is None or isinstance(value, str | int):
        return "" if value is None else str(value)
    raise ParseError(f"{key} as text", value, source)
