"""Parameters of a checkup's ConfigMap, as words of a command line.

Source of the form: kiagnose, docs and kubevirt's checkups: ``spec.param.NAME``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from conformance.matrix.matrices import NAMES

PREFIX = "spec.param."
_SWITCH = ""
_OPTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "run": {
            "at-once": r"[1-9]\d{0,2}",
            "disruptive": _SWITCH,
            "guest-image": r"\w.*",
            "image-prefix": r"\w.*",
            "insist": r"\w+",
            "keyword": r"[\w\[(].*",
            "label-filter": r"[^-].*",
            "matrix": "|".join(NAMES),
            "nodes": r"\w.*",
            "patience": r"[\d.]+",
            "profile": r"\w+",
        },
        "audit": {
            "libvirt": _SWITCH,
            "namespace": r"[a-z0-9-]+",
            "node": r"[\w.-]+",
            "profile": r"\w+",
            "rate": r"[\d.]+",
            "redact": _SWITCH,
            "selector": r"[\w!].*",
        },
    }
)
"""What a ConfigMap may say of a command, and how its values look. Nothing that names a file or a
program is among it: whoever may write a ConfigMap need not be trusted with the service account."""
_SHORT = {"at-once": "-n", "keyword": "-k", "namespace": "-n", "selector": "-l"}


def words(data: Mapping[str, str], command: str) -> list[str]:
    """The parameters as options of a command.

    Args:
        data: of the ConfigMap.
        command: ``run`` or ``audit``.

    Raises:
        ValueError: a parameter or its value means nothing; the message names it.
    """
    known = _OPTIONS[command]
    found: list[str] = []
    for key, text in sorted(data.items()):
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX)
        if name not in known:
            raise ValueError(f"{key} means nothing to {command}; known: {', '.join(sorted(known))}")
        value = text.strip()
        if known[name] == _SWITCH:
            if value not in ("true", "false"):
                raise ValueError(f"{key} is true or false, not {value!r}")
            found += [f"--{name}"] if value == "true" else []
        elif not re.fullmatch(known[name], value):
            raise ValueError(f"{key} cannot be {value!r}")
        else:
            found += [_SHORT.get(name, f"--{name}"), value]
    return found
