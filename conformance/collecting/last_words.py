"""What the containers of a pod said last, for people: no verdict rests on it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clusters.kit.api import Api, ApiError
from conformance.collecting import bundle, foreign
from conformance.collecting.api import core
from conformance.collecting.recorded import stem

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


def logs(recorded: bundle.Bundle, case: str) -> dict[str, str]:
    """What was kept of a case: text by container. What cannot be read is left out."""
    if recorded.directory is None:
        return {}
    found: dict[str, str] = {}
    with contextlib.suppress(foreign.BundleError):
        for name in foreign.names(recorded.directory, "logs"):
            container = name.removesuffix(".log").rpartition(".")[2]
            if name != f"{stem(f'{case}.{container}')}.log":
                continue
            with contextlib.suppress(foreign.BundleError):
                found[container] = foreign.read(recorded.directory, f"logs/{name}", foreign.MIB)
    return found
