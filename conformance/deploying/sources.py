"""The files of this tool that an image of it takes, from a checkout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from clusters.contract.provider import ClusterError
from conformance.version import NUMBER, PACKED, version

CHECKOUT = Path(__file__).parents[2]
_LOCK = Path(".ci") / "requirements.lock"
_TREES = ("clusters", "conformance", "fixtures", "reports", "tests/conformance")
_CACHE = "__pycache__"


def sources() -> Mapping[str, bytes]:
    """Content by path relative to the checkout, and the commit that it is of.

    Raises ClusterError where this is no checkout.
    """
    lock()
    commit = version().removeprefix(NUMBER).strip(" ()").removeprefix("commit ")
    found = {
        str(path.relative_to(CHECKOUT)): path.read_bytes()
        for tree in _TREES
        for path in sorted((CHECKOUT / tree).rglob("*"))
        if path.is_file() and _CACHE not in path.parts
    }
    return {**found, f"conformance/{PACKED}": f"{commit}\n".encode()}


def lock() -> str:
    """The lock of what this tool needs. Raises ClusterError where this is no checkout."""
    try:
        return (CHECKOUT / _LOCK).read_text()
    except OSError:
        raise ClusterError(
            "the image is built in a checkout of this tool, whose lock names its packages; "
            "what is installed here has none"
        ) from None
