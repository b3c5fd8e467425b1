"""What kind of text a text is: without what differs from case to case and from run to run."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

SENTENCE = 200
"""Characters of a summary."""
_CUT = " …"

_PATHS = re.compile(r" ?\((?=[^()]*/)[^()]*\)")
"""A source in parentheses: the table beside the sentence has it."""
_VARIABLE = (
    (re.compile(r"\bconformance-[0-9a-f]{6}\b"), "NAMESPACE"),
    (re.compile(r"\bvirt-launcher-[a-z0-9.-]+"), "LAUNCHER"),
    (re.compile(r"\b[0-9a-f]{8}[-_](?:[0-9a-f]{4}[-_]){3}[0-9a-f]{12}\b"), "UID"),
    (re.compile(r"\b[0-9a-f]{32,}\b"), "ID"),
    (re.compile(r"/\S+"), "PATH"),
    (re.compile(r"\d{4}-\d\d-\d\dT[0-9:.+Z-]+"), "TIME"),
    (re.compile(r"\(empty\)|\d+(?:[-,.]\d+)*"), "N"),
)


def pattern(text: str, *names: str) -> str:
    """The text without names, ids, numbers, paths and times.

    Args:
        text: such as an objection of a finding.
        names: of the case, the workload, the node: what is to be left out beside that.
    """
    text = text[:4000]
    for name in sorted(filter(None, names), key=len, reverse=True):
        # Most texts have none of them, and an expression of each takes long to make.
        if name in text:
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "NAME", text)
    return _without_values(text)


@lru_cache(maxsize=4096)
def _without_values(text: str) -> str:
    for expression, word in _VARIABLE:
        text = expression.sub(word, text)
    return re.sub(r"\bN(?: ?, ?N)+\b", "N", " ".join(text.split()))


def without_sources(text: str) -> str:
    """The text without the paths that it has in parentheses."""
    return _PATHS.sub("", text)


def sentence(text: str, limit: int = SENTENCE) -> str:
    """The text in one line of at most so many characters; what is cut is marked."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    head = line[: limit - len(_CUT)]
    at = head.rfind(" ")
    return (head[:at] if at > limit // 2 else head).rstrip(" ,;:") + _CUT


def digest(*parts: str) -> str:
    """A short name of these texts together, the same wherever it is made."""
    return hashlib.sha256("\0".join(parts).encode(errors="backslashreplace")).hexdigest()[:12]
