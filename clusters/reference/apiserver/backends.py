"""What the API server asks of the rest of the stack while it answers a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from clusters.reference.apiserver.resources import ResourceType
from clusters.reference.apiserver.store import Object
from clusters.reference.machine import ExecSession


@dataclass(frozen=True)
class Cause:
    """One entry of ``status.details.causes``: reason, text, JSON path of the field.

    An empty one is left out, as Go's JSON does.
    """

    reason: str
    message: str
    field: str


class InvalidError(Exception):
    """The object is refused.

    Attributes:
        code: 422 Invalid with causes, or 400 of a webhook that cannot read the object.
        message: of the Status, complete.
        named: whether the Status names the object, as those of the API server itself do.
    """

    def __init__(
        self, message: str, causes: Sequence[Cause] = (), *, code: int = 422, named: bool = False
    ) -> None:
        super().__init__(message)
        self.message = message
        self.causes = tuple(causes)
        self.code = code
        self.named = named


class Admission(Protocol):
    """Defaulting and validation, of every kind."""

    def admit(self, type_: ResourceType, obj: Object, old: Object | None) -> Object:
        """The object to be stored, with defaults filled in; `old` is None on creation.

        It has passed the schema of its type, which is one of `resources.ALL`; of a VMI's,
        only what is unknown to it has been left out.

        Raises InvalidError.
        """
        ...


class PodAccess(Protocol):
    """The kubelets, as the API server reaches them. Unknown containers raise KeyError."""

    async def log(self, namespace: str, pod: str, container: str) -> str:
        """What the container has printed so far."""
        ...

    async def execute(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, tty: bool
    ) -> ExecSession:
        """Starts a command in the running container."""
        ...

    async def console(self, namespace: str, vmi: str) -> str:
        """What the guest of the VMI has printed on its serial console so far."""
        ...

    def node_config(self, node: str) -> Object:
        """The KubeletConfiguration of the node, as ``/configz`` shows it."""
        ...
