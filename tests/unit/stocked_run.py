"""``python -m tests.unit.stocked_run FILE COMMAND...``: `./conform` on a cluster that has objects
of its own: those of the YAML file, made as soon as it is up.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from clusters import providers
from clusters.kit.api import Api
from conformance.cli import main
from conformance.matrix import kinds


def stock(kubeconfig: str, path: Path) -> None:
    """Makes every object of the file."""
    api = Api(kubeconfig)
    for obj in yaml.safe_load_all(path.read_text()):
        namespace = obj["metadata"].get("namespace", "")
        api.create(kinds.collection(obj["kind"], obj["apiVersion"], namespace), obj)


if __name__ == "__main__":
    provider: Any = providers.provider("simulated")
    up = provider.up

    def stocked(*arguments: Any, **keywords: Any) -> Any:
        handle = up(*arguments, **keywords)
        stock(handle.kubeconfig, Path(sys.argv[1]))
        return handle

    provider.up = stocked
    raise SystemExit(main(sys.argv[2:]))
