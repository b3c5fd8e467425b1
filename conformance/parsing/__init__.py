"""Text of the kernel, the kubelet, libvirt, the API and the guest → facts. No I/O.

Strict: a parser raises `ParseError`, quoting what it does not know and where it came from.
"""

from conformance.parsing.assemble import assemble
from conformance.parsing.errors import ParseError

__all__ = ["ParseError", "assemble"]
