"""The image is complete or says what is missing."""

from __future__ import annotations

import gzip
import lzma
import struct
import subprocess
from pathlib import Path

import pytest

from clusters.contract.provider import ClusterError
from clusters.virtual_node import image, kernel


def bzimage(payload: bytes, size: int) -> bytes:
    head = bytearray(1024)
    head[0x1F1] = 1
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, 0, len(payload) + 4)
    return bytes(head) + payload + struct.pack("<I", size)


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_the_kernel_is_taken_out_of_its_wrapping(compress: object) -> None:
    elf = b"\x7fELF" + bytes(5000)
    assert callable(compress)
    assert kernel.uncompressed(bzimage(compress(elf), len(elf))) == elf


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (b"\0" * 4096, "no bzImage"),
        (bzimage(b"BZh9 something", 4), "compressed in a way unknown here: 425a6839"),
        (bzimage(gzip.compress(b"\x7fELF short"), 999), "could not decompress"),
    ],
)
def test_a_kernel_that_is_none_is_refused(broken: bytes, message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        kernel.uncompressed(broken)


@pytest.fixture
def file_system(tmp_path: Path) -> Path:
    root = tmp_path / "root.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", str(root), "2M"], check=True)
    return root


def inside(root: Path, path: str) -> tuple[str, str]:
    """Content and mode of a file in the file system image."""
    content = subprocess.run(
        ["debugfs", "-R", f"cat {path}", str(root)], capture_output=True, text=True, check=True
    )
    stat = subprocess.run(
        ["debugfs", "-R", f"stat {path}", str(root)], capture_output=True, text=True, check=True
    )
    return content.stdout, stat.stdout.partition("Mode:")[2].split()[0]


def test_files_are_put_into_the_image(file_system: Path, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    for content in (b"old", b"new"):
        image.inject(file_system, {"/etc/deep/file": (content, 0o600), "/run": (script, 0o755)})
    assert inside(file_system, "/etc/deep/file") == ("new", "0600")
    assert inside(file_system, "/run") == ("#!/bin/sh\n", "0755")


def test_files_that_do_not_fit_are_an_error(file_system: Path) -> None:
    with pytest.raises(ClusterError, match="could not be completed"):
        image.inject(file_system, {"/big": (bytes(range(256)) * 40_000, 0o644)})


@pytest.mark.parametrize("path", ["relative", "/with space", "/../etc", "/a//b", "/"])
def test_a_place_that_is_no_plain_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a plain absolute path"):
        image.destination(path)


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ClusterError, match="apt-get install --no-install-recommends e2fsprogs"):
        image.inject(Path("/nonexistent/root.img"), {})


def test_a_failed_download_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "mmdebstrap"
    fake.write_text("#!/bin/sh\necho 'E: Could not resolve mirror.example' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ClusterError, match=r"mmdebstrap failed:\nE: Could not resolve"):
        image.build({}, progress=lambda _line: None)


def test_where_there_is_no_apt_and_no_debian(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert image._sources("bookworm") == []
    monkeypatch.setattr(image, "OS_RELEASE", tmp_path / "os-release")
    assert image.debian_suite() == image.FALLBACK_SUITE
    (tmp_path / "os-release").write_text('ID=fedora\nVERSION_CODENAME=""\n')
    assert image.debian_suite() == image.FALLBACK_SUITE
    (tmp_path / "os-release").write_text("ID=debian\nVERSION_CODENAME=trixie\n")
    assert image.debian_suite() == "trixie"
