"""Names of objects and labels: the rules of apimachinery/pkg/util/validation."""

from __future__ import annotations

import re
from typing import Any

from clusters.reference.apiserver.backends import Cause

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

_LABEL_KINDS = {"Namespace"}
"""Kinds whose names are DNS labels; all others have DNS subdomains for names."""


def check_name(kind: str, name: str, field: str = "metadata.name") -> list[Cause]:
    """What is wrong with the name of an object, if anything."""
    if kind in _LABEL_KINDS:
        if len(name) > 63:
            return [_cause(name, "must be no more than 63 characters", field)]
        if not re.fullmatch(_LABEL, name):
            rule = (
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters "
                "or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  "
                f"or '123-abc', regex used for validation is '{_LABEL}')"
            )
            return [_cause(name, rule, field)]
    else:
        if len(name) > 253:
            return [_cause(name, "must be no more than 253 characters", field)]
        if not re.fullmatch(_SUBDOMAIN, name):
            rule = (
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
                "characters, '-' or '.', and must start and end with an alphanumeric character "
                "(e.g. 'example.com', regex used for validation is "
                f"'{_LABEL}(\\.{_LABEL})*')"
            )
            return [_cause(name, rule, field)]
    return []


def check_labels(labels: dict[str, Any]) -> list[Cause]:
    """What is wrong with ``metadata.labels``."""
    causes = []
    for key, value in labels.items():
        prefix, slash, name = key.rpartition("/")
        if (slash and not re.fullmatch(_SUBDOMAIN, prefix)) or not _is_qualified(name):
            rule = (
                "name part must consist of alphanumeric characters, '-', '_' or '.', and must "
                "start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
                f"'123-abc', regex used for validation is '{_QUALIFIED}')"
            )
            causes.append(_cause(key, rule, "metadata.labels"))
        if value and not _is_qualified(str(value)):
            rule = (
                "a valid label must be an empty string or consist of alphanumeric characters, "
                "'-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
                "'MyValue',  or 'my_value',  or '12345', regex used for validation is "
                "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            )
            causes.append(_cause(str(value), rule, "metadata.labels"))
    return causes


def _is_qualified(text: str) -> bool:
    return len(text) <= 63 and re.fullmatch(_QUALIFIED, text) is not None


def _cause(value: str, rule: str, field: str) -> Cause:
    return Cause("FieldValueInvalid", f'Invalid value: "{value}": {rule}', field)
