"""Evidence of whatever runs on a cluster right now."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clusters.contract.access import ClusterAccess
from clusters.kit.api import Json
from conformance.collecting import bundle
from conformance.collecting.api import connect
from conformance.collecting.record import Record, describe, record
from conformance.collecting.snapshot import Collector
from conformance.model.evidence import RawSnapshot
from conformance.model.vocabulary import EVERY_NODE, LAST_APPLIED, RUNNING
from conformance.settling import HOUSEKEEPING, GaveUpError, Hope, NotYetError, until

LOOKS_APART = 5.0
"""Between two looks at what has not settled, seconds at most."""

Settling = Callable[[Record, Mapping[str, Any], Sequence[RawSnapshot]], Sequence[str]]
"""Of a run and a manifest: requirements that may settle, so that it is looked at again."""


def collect(
    access: ClusterAccess,
    provider: str,
    name: str,
    directory: Path,
    say: Callable[[str], None],
    *,
    profile: str,
    settling: Settling,
) -> int:
    """Records every VMI of the cluster and the labels of its nodes; returns how many VMIs.

    What is taken for the user's manifest is what ``kubectl apply`` noted of it, else the
    VMI as it is stored. One that has just started, so that it may not have settled, is looked at
    again. Nothing is touched: no console is opened. Raises ApiError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    api = connect(access.kubeconfig, faults=bundle.FaultLog(directory))
    found = api.items(f"/apis/kubevirt.io/{profile}/virtualmachineinstances")
    # One node after the other: its VMIs share what was seen of it, as long as nothing changes.
    found.sort(key=lambda vmi: str((vmi.get("status") or {}).get("nodeName")))
    planned = {_id(vmi): (vmi, _manifest(vmi)) for vmi in found}
    run = record(
        name,
        provider,
        profile=profile,
        matrix=f"what runs on {name}",
        cases=[
            (case, f"VMI {case}, as it was found", manifest)
            for case, (_, manifest) in planned.items()
        ],
        moments=(RUNNING, EVERY_NODE),
    )
    describe(run, access, api)
    bundle.write_run(directory, run)
    collector = Collector(api, access, profile)

    def labels() -> None:
        for raw in collector.labels():
            bundle.write_snapshot(directory, raw)

    labels()
    for case, (vmi, manifest) in planned.items():
        say(f"collecting {case}")
        namespace, looks = vmi["metadata"]["namespace"], list[RawSnapshot]()

        def look(
            case: str = case,
            manifest: Mapping[str, Any] = manifest,
            namespace: str = namespace,
            looks: list[RawSnapshot] = looks,
        ) -> None:
            looks.append(collector.running(case, dict(manifest), namespace, RUNNING))
            bundle.write_snapshot(directory, looks[-1])
            if waited := settling(run, manifest, looks):
                raise NotYetError(f"{', '.join(waited)} not settled")

        with contextlib.suppress(GaveUpError):
            until(case, look, Hope(HOUSEKEEPING), pause=LOOKS_APART, on_change=say)
    labels()
    bundle.write_run(directory, run)
    return len(planned)


def _id(vmi: Json) -> str:
    return f"{vmi['metadata']['namespace']}.{vmi['metadata']['name']}"


def _manifest(vmi: Json) -> dict[str, Any]:
    metadata = vmi["metadata"]
    applied = (metadata.get("annotations") or {}).get(LAST_APPLIED)
    manifest: dict[str, Any] = json.loads(applied) if applied else dict(vmi)
    names = {"name": metadata["name"], "namespace": metadata["namespace"]}
    kept = {
        key: value
        for key, value in (manifest.get("metadata") or {}).items()
        if key in ("annotations", "labels")
    }
    return {
        "apiVersion": manifest["apiVersion"],
        "kind": manifest["kind"],
        "metadata": {**kept, **names},
        "spec": manifest["spec"],
    }
