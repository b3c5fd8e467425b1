"""Phases and conditions of a VMI."""

from __future__ import annotations

from clusters.reference.apiserver.store import Object, now


def set_phase(instance: Object, phase: str) -> None:
    """Moves the VMI to a phase and notes when; the same phase again changes nothing."""
    status = instance.setdefault("status", {})
    known = status.setdefault("phaseTransitionTimestamps", [])
    if status.get("phase") == phase and known:
        return
    status["phase"] = phase
    known.append({"phase": phase, "phaseTransitionTimestamp": now()})
