"""As whom a registry is used: what ``docker login`` or ``podman login`` left on this machine.

Sources: docker/cli, cli/config/configfile/file.go; containers-auth.json(5).
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SECONDS = 60
_DOCKER_HUB = {"docker.io": "https://index.docker.io/v1/"}
"""Registries that Docker keeps under another name."""


def login(registry: str) -> tuple[str, str] | None:
    """User and password; None when nobody is logged in.

    Raises OSError, ValueError or SubprocessError when that cannot be read.
    """
    key = _DOCKER_HUB.get(registry, registry)
    for path in _files():
        if not path.exists():
            continue
        config: dict[str, Any] = json.loads(path.read_text())
        helper = (config.get("credHelpers") or {}).get(key) or config.get("credsStore")
        entry = (config.get("auths") or {}).get(key) or {}
        if entry.get("auth"):
            user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
            return user, password
        if helper and (found := _helped(str(helper), key)):
            return found
    return None


def _files() -> Iterator[Path]:
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    yield Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"


def _helped(helper: str, key: str) -> tuple[str, str] | None:
    """What a credential helper says; it ends with another code than 0 when it knows nothing."""
    done = subprocess.run(
        [f"docker-credential-{helper}", "get"],
        input=key,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        return None
    said = json.loads(done.stdout)
    return str(said["Username"]), str(said["Secret"])
