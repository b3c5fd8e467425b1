"""What the containers of a pod said last, for people: no verdict rests on it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clusters.kit.api import Api, ApiError
from conformance.collecting import bundle
from conformance.collecting.api import core

LINES = "200"
"""Of each container."""


def keep(api: Api, pod: Mapping[str, Any], evidence: Path, case: str) -> None:
    """Keeps the logs of every container that has started, in ``logs/CASE.CONTAINER.log``.

    They go with the pod, and are the best that there is to say why it does not run. Nobody needs
    the right to read them.
    """
    meta, status = pod["metadata"], pod.get("status") or {}
    for key in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(key) or ():
            if "waiting" in (container.get("state") or {"waiting": {}}):
                continue
            query = {"container": container["name"], "tailLines": LINES}
            with contextlib.suppress(ApiError):
                text = api.text(f"{core('pods', meta['namespace'], meta['name'])}/log", **query)
                bundle.write_log(evidence, f"{case}.{container['name']}", text)
