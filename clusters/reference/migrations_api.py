"""virt-api: admission of live migrations.

kubevirt pkg/virt-api/webhooks: mutating-webhook/mutators/migration-create-mutator.go,
validating-webhook/admitters/migration-create-admitter.go.
"""

from __future__ import annotations

import copy

from clusters.reference.apiserver.backends import InvalidError
from clusters.reference.apiserver.resources import MIGRATION, VMI
from clusters.reference.apiserver.store import Object, Store
from clusters.reference.conditions import get_condition
from clusters.reference.vmi import FINAL

FINALIZER = "kubevirt.io/migrationJobFinalize"
"""Keeps a migration until it has ended."""
OF_VMI = "kubevirt.io/vmi-name"
"""Label of a migration: the name of its VMI."""
_WEBHOOK = "migration-create-validator.kubevirt.io"


class MigrationAdmission:
    """Validates VirtualMachineInstanceMigrations."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def admit(self, obj: Object, old: Object | None) -> Object:
        """The migration to be stored. Raises InvalidError."""
        migration = copy.deepcopy(obj)
        if old is not None:
            if migration.get("spec") != old.get("spec"):
                raise _denied("update of Migration object's spec is restricted")
            return migration
        namespace = migration["metadata"].get("namespace") or ""
        name = (migration.get("spec") or {}).get("vmiName") or ""
        if not name:
            raise _denied("vmiName is missing")
        vmi = self._store.find(VMI, name, namespace)
        if vmi is None:
            raise _denied(f'the VMI "{namespace}/{name}" does not exist')
        if vmi["status"].get("phase") in FINAL:
            raise _denied("Cannot migrate VMI in finalized state.")
        able = get_condition(vmi["status"], "LiveMigratable")
        if able is not None and able["status"] == "False":
            raise _denied(
                f"Cannot migrate VMI, Reason: {able.get('reason')}, Message: {able.get('message')}"
            )
        for other in self._store.list(MIGRATION, namespace):
            open_ = (other.get("status") or {}).get("phase") not in FINAL
            if open_ and other["spec"].get("vmiName") == name:
                raise _denied(
                    "in-flight migration detected. Active migration job "
                    f"({other['metadata']['uid']}) is currently already in progress for VMI {name}."
                )
        metadata = migration["metadata"]
        metadata.setdefault("labels", {})[OF_VMI] = name
        metadata["finalizers"] = [*(metadata.get("finalizers") or ()), FINALIZER]
        migration["status"] = {}
        return migration


def _denied(message: str) -> InvalidError:
    return InvalidError(f'admission webhook "{_WEBHOOK}" denied the request: {message}', code=400)
