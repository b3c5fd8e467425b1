"""Evidence of whatever runs on a cluster right now."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clusters.access import ClusterAccess
from conformance.collecting import bundle
from conformance.collecting.api import Api, Json
from conformance.collecting.record import describe, record
from conformance.collecting.snapshot import Collector

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def collect(
    access: ClusterAccess,
    provider: str,
    name: str,
    directory: Path,
    say: Callable[[str], None],
    *,
    profile: str,
) -> int:
    """Records every VMI of the cluster; returns how many there were.

    What is taken for the user's manifest is what ``kubectl apply`` noted of it, else the
    VMI as it is stored. Raises ApiError, TransientError.
    """
    api = Api(access.kubeconfig)
    found = api.get(f"/apis/kubevirt.io/{profile}/virtualmachineinstances")["items"]
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
        moments=("running",),
    )
    describe(run, access, api)
    bundle.write_run(directory, run)
    collector = Collector(api, access, profile)
    for case, (vmi, manifest) in planned.items():
        say(f"collecting {case}")
        namespace = vmi["metadata"]["namespace"]
        bundle.write_snapshot(directory, collector.running(case, manifest, namespace, "running"))
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
