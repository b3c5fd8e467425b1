"""Why a kubelet turns a pod away."""

from __future__ import annotations


class AdmissionError(Exception):
    """The pod cannot run on this node; `reason` becomes ``status.reason``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def unexpected(error: Exception) -> AdmissionError:
    """What a resource manager could not give although the scheduler thought so."""
    return AdmissionError(
        "UnexpectedAdmissionError", f"Allocate failed due to {error}, which is unexpected"
    )
