"""The uncompressed kernel inside a bzImage.

A virtual machine that enters it directly (PVH) is spared the decompression, which takes
seconds where CPUs are emulated. Rule: Documentation/arch/x86/boot.rst of Linux,
``payload_offset`` and ``payload_length``.
"""

from __future__ import annotations

import struct
import subprocess

from clusters.contract.provider import ClusterError

DECOMPRESSORS = {
    b"\x02\x21\x4c\x18": ["lz4", "-dc"],
    b"\x28\xb5\x2f\xfd": ["zstd", "-dc"],
    b"\xfd7zXZ\x00"[:4]: ["xz", "-dc", "--single-stream"],
    b"\x1f\x8b\x08\x00": ["gzip", "-dc"],
}


def uncompressed(image: bytes) -> bytes:
    """The ELF file inside a bzImage.

    Raises:
        ClusterError: it is no bzImage, or its compression or decompressor is missing.
    """
    if image[0x202:0x206] != b"HdrS":
        raise ClusterError("the kernel of the image is no bzImage")
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    # The last four bytes are the uncompressed size, appended by the kernel's build.
    payload = image[start : start + length - 4]
    command = DECOMPRESSORS.get(payload[:4])
    if command is None:
        raise ClusterError(
            f"the kernel of the image is compressed in a way unknown here: {payload[:4].hex()}"
        )
    try:
        kernel = subprocess.run(command, input=payload, capture_output=True, check=False).stdout
    except FileNotFoundError:
        raise ClusterError(
            f"{command[0]} is missing on this host: apt-get install --no-install-recommends "
            f"{command[0].replace('xz', 'xz-utils')}"
        ) from None
    (size,) = struct.unpack_from("<I", image, start + length - 4)
    if len(kernel) != size or not kernel.startswith(b"\x7fELF"):
        raise ClusterError(f"{command[0]} could not decompress the kernel of the image")
    return kernel
