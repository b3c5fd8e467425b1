"""What a request is about, and how it is to be done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from clusters.reference.apiserver.resources import ResourceType
from clusters.reference.apiserver.store import Object

FieldValidation = Literal["Ignore", "Warn", "Strict"]


@dataclass(frozen=True)
class Target:
    """What a request is about.

    Attributes:
        version: the version of the group that is spoken.
        namespace: empty for all namespaces, or for a type without.
        name: empty for the collection.
        rest: path below the subresource.
    """

    type: ResourceType
    version: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""

    @property
    def api_version(self) -> str:
        """``apiVersion`` of the objects that the client sends and gets."""
        return f"{self.type.group}/{self.version}" if self.type.group else self.version


@dataclass
class WriteOptions:
    """How a write is to be done.

    Attributes:
        warnings: filled while the request is carried out; for ``Warning`` headers.
    """

    dry_run: bool = False
    field_validation: FieldValidation = "Warn"
    manager: str = "unknown"
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DeleteOptions:
    """How a deletion is to be done.

    A propagation policy is none of it: whoever owns dependents ends them.
    """

    grace_seconds: int | None = None
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


def in_version(obj: Object, target: Target) -> Object:
    """The object as a client of the asked version sees it."""
    return {**obj, "apiVersion": target.api_version}
