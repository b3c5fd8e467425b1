"""The user's kubeconfig: which file, which context, and a private copy of what it needs.

The copy holds one context and absolute paths, so that every process of a run reaches the
same cluster whatever the user does to the original meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from clusters.contract.provider import ClusterError

_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
"""Members that name a file, relative to the kubeconfig."""

_USUAL = "~/.kube/config"
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds what it is in its cluster."""
HOST, PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"


def single_context(path: str | None, context: str | None) -> str:
    """The text of a kubeconfig with one context only, which is its current one.

    Args:
        path: a file, or several separated by colons, of which the first that defines
            something counts; None for ``$KUBECONFIG`` or ``~/.kube/config``, or, where there is
            neither, the service account of the pod that this runs in.
        context: None for the current one.

    Raises:
        ClusterError: there is no such file or context, or it is no kubeconfig.
    """
    where = path or os.environ.get("KUBECONFIG") or _USUAL
    if where == _USUAL and not Path(where).expanduser().exists() and (host := os.environ.get(HOST)):
        return _of_the_pod(host, os.environ.get(PORT, "443"))
    files = [Path(part).expanduser() for part in where.split(os.pathsep) if part]
    found = [(file, _load(file)) for file in files if file.exists()]
    if not found:
        raise ClusterError(
            f"there is no kubeconfig at {where}: give --kubeconfig FILE or set KUBECONFIG"
        )
    chosen = context or next(
        (content["current-context"] for _, content in found if content.get("current-context")), ""
    )
    entry = _named(found, "contexts", chosen)
    if entry is None:
        names = ", ".join(sorted(_names(found, "contexts"))) or "none"
        raise ClusterError(
            f"the kubeconfig {where} has no context {chosen!r}: give --context, one of {names}"
            if chosen
            else f"the kubeconfig {where} has no current context: give --context, one of {names}"
        )
    parts: dict[str, Any] = {"contexts": [{"name": chosen, "context": entry}]}
    for kind, member in (("clusters", "cluster"), ("users", "user")):
        name = entry.get(member)
        value = _named(found, kind, name)
        if value is None:
            raise ClusterError(
                f"context {chosen!r} of the kubeconfig {where} names the {member} {name!r}, "
                "which is not defined there"
            )
        parts[kind] = [{"name": name, member: value}]
    return yaml.safe_dump(
        {"apiVersion": "v1", "kind": "Config", "current-context": chosen, **parts}
    )


def _of_the_pod(host: str, port: str) -> str:
    """A kubeconfig of the pod's own service account. Its token is a file, which is renewed."""
    token, authority = SERVICE_ACCOUNT / "token", SERVICE_ACCOUNT / "ca.crt"
    if not token.exists():
        raise ClusterError(
            f"this is a pod without {token}: give it a service account, or give --kubeconfig FILE"
        )
    server = f"https://{f'[{host}]' if ':' in host else host}:{port}"
    name = "in-cluster"
    cluster = {"server": server, "certificate-authority": str(authority)}
    context = {"cluster": name, "user": name}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": {"tokenFile": str(token)}}],
            "contexts": [{"name": name, "context": context}],
        }
    )


_Found = list[tuple[Path, Mapping[str, Any]]]


def _load(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ClusterError(f"the kubeconfig {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ClusterError(f"{path} is no kubeconfig: it holds no mapping")
    return content


def _names(found: _Found, kind: str) -> set[str]:
    return {str(item.get("name")) for _, content in found for item in content.get(kind) or ()}


def _named(found: _Found, kind: str, name: str | None) -> dict[str, Any] | None:
    """The first entry of that name, with absolute paths."""
    member = kind.removesuffix("s")
    for path, content in found:
        for item in content.get(kind) or ():
            if item.get("name") == name:
                return {
                    key: str(path.absolute().parent / value) if key in _FILES else value
                    for key, value in (item.get(member) or {}).items()
                }
    return None
