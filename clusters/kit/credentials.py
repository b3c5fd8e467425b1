"""A kubeconfig as the `kubernetes` client takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def configuration(kubeconfig: str, context: str | None = None) -> Any:
    """The client's configuration of a kubeconfig.

    A token that is a file is read again for each request: kubelets renew those of service
    accounts, and the client itself reads it once.

    Args:
        kubeconfig: path.
        context: None for the current one.

    Raises:
        ConfigException, OSError, ValueError: its credentials cannot be had.
    """
    from kubernetes import client, config

    found: Any = client.Configuration()
    config.load_kube_config(kubeconfig, context, client_configuration=found)
    if file := _token_file(Path(kubeconfig), context):

        def renew(current: Any) -> None:
            current.api_key["BearerToken"] = f"Bearer {file.read_text().strip()}"

        found.refresh_api_key_hook = renew
    return found


def _token_file(path: Path, context: str | None) -> Path | None:
    content = yaml.safe_load(path.read_text())
    name = context or content.get("current-context")
    contexts = {each["name"]: each["context"] for each in content.get("contexts") or ()}
    users = {each["name"]: each.get("user") or {} for each in content.get("users") or ()}
    user = users.get(contexts.get(name, {}).get("user"), {})
    file = None if user.get("token") else user.get("tokenFile")
    return path.parent / file if file else None
