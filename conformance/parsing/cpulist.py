"""CPU lists as the kernel, the kubelet and libvirt write them."""

from __future__ import annotations

from functools import lru_cache

from conformance.model.cpuset import CpuSet
from conformance.parsing.errors import ParseError

_parse = lru_cache(maxsize=8192)(CpuSet.parse)


def cpulist(text: str, source: str) -> CpuSet:
    """Reads ``0-2,7``; the empty text is the empty set.

    Raises:
        ParseError: anything else.
    """
    try:
        return _parse(text)
    except ValueError as error:
        raise ParseError("a CPU list such as 0-2,7", text, source) from error
