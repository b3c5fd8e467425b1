"""The images are what tools and launchers take: layout, names, modes, the sidecar's answer."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import signal
import socket
import struct
import subprocess
import tarfile
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clusters.contract.describing import image_name
from clusters.contract.provider import ClusterError
from clusters.guest_images import build
from clusters.guest_images.initrd import initrd
from clusters.kit import oci_archive
from conformance.matrix.manifests import Images
from conformance.matrix.matrices import matrix
from conformance.matrix.pods import STAY
from tests.unit.test_virtual_node_image import bzimage

SIDECAR = Path(build.__file__).parent / "sidecar.pl"
PREFIX = "registry.example/team"
ELF = b"\x7fELF" + bytes(5000)
LIBRARIES = "usr/lib/x86_64-linux-gnu"


def packages(*, without: str = "") -> tarfile.TarFile:
    """A tar as `unpack_packages` writes it, of a few files."""
    files = {
        "boot/vmlinuz-6.1.0-1-cloud-amd64": bzimage(gzip.compress(ELF), len(ELF)),
        "usr/bin/busybox": b"busybox",
        "usr/bin/perl": b"perl",
        f"{LIBRARIES}/perl-base/strict.pm": b"strict",
        f"{LIBRARIES}/ld-linux-x86-64.so.2": b"loader",
        f"{LIBRARIES}/libc.so.6": b"c",
        f"{LIBRARIES}/libm.so.6": b"m",
        f"{LIBRARIES}/libcrypt.so.1.1.0": b"crypt",
        "usr/share/doc/perl-base/copyright": b"not needed",
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            if name == without:
                continue
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo(f"./{LIBRARIES}/libcrypt.so.1")
        link.type, link.linkname = tarfile.SYMTYPE, "libcrypt.so.1.1.0"
        tar.addfile(link)
    out.seek(0)
    return tarfile.open(fileobj=out)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "images.tar"
    oci_archive.write(path, build.images(packages(), PREFIX))
    return path


def blobs(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        return {name: file.read() for name, file in files.items() if file is not None}


def layer(found: dict[str, bytes], manifest: Any) -> tarfile.TarFile:
    (descriptor,) = manifest["layers"]
    data = found["blobs/" + descriptor["digest"].replace(":", "/")]
    return tarfile.open(fileobj=io.BytesIO(gzip.decompress(data)))


def test_every_digest_and_size_is_that_of_its_blob(written: Path) -> None:
    found = blobs(written)
    index = json.loads(found["index.json"])
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    seen = {"oci-layout", "index.json", "manifest.json"}
    for descriptor in index["manifests"]:
        manifest = json.loads(found["blobs/" + descriptor["digest"].replace(":", "/")])
        for each in (descriptor, manifest["config"], *manifest["layers"]):
            name = "blobs/" + each["digest"].replace(":", "/")
            assert hashlib.sha256(found[name]).hexdigest() == each["digest"].removeprefix("sha256:")
            assert len(found[name]) == each["size"]
            seen.add(name)
        config = json.loads(found["blobs/" + manifest["config"]["digest"].replace(":", "/")])
        assert (config["architecture"], config["os"]) == ("amd64", "linux")
        tar = gzip.decompress(found["blobs/" + manifest["layers"][0]["digest"].replace(":", "/")])
        assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(tar).hexdigest()}"]
    assert seen == set(found), "nothing lies around unnamed"


def test_the_names_are_those_of_the_manifests_in_every_dialect(written: Path) -> None:
    found = blobs(written)
    wanted = Images.below(PREFIX)
    names = [wanted.guest, wanted.disk, wanted.sidecar]
    annotations = [each["annotations"] for each in json.loads(found["index.json"])["manifests"]]
    assert [each["org.opencontainers.image.ref.name"] for each in annotations] == names
    assert [each["io.containerd.image.name"] for each in annotations] == names
    docker = json.loads(found["manifest.json"])
    assert [each["RepoTags"] for each in docker] == [[name] for name in names]
    assert {path for each in docker for path in (each["Config"], *each["Layers"])} <= set(found)


def test_launchers_find_what_they_look_for_and_may_read_it(written: Path) -> None:
    found = blobs(written)
    manifests = [
        json.loads(found["blobs/" + each["digest"].replace(":", "/")])
        for each in json.loads(found["index.json"])["manifests"]
    ]
    guest, disk, sidecar = (layer(found, manifest) for manifest in manifests)
    boot = matrix("smoke")[0].manifest["spec"]["domain"]["firmware"]["kernelBoot"]["container"]
    kernel = guest.extractfile(boot["kernelPath"].strip("/"))
    assert kernel is not None
    assert kernel.read() == ELF
    assert boot["initrdPath"].strip("/") in guest.getnames()
    assert disk.getmember("disk/disk.img").size % 512 == 0
    assert {"lib64/ld-linux-x86-64.so.2", f"{LIBRARIES}/libcrypt.so.1"} < set(sidecar.getnames())
    assert "usr/share/doc/perl-base/copyright" not in sidecar.getnames()
    assert sidecar.getmember("usr/bin/hook-sidecar").mode == 0o555
    # What plain pods and a scenario run there.
    programs = {STAY[0], "sleep", "kill"}
    assert "sleep" in STAY[-1]
    assert {sidecar.getmember(f"usr/bin/{name}").mode for name in programs} == {0o555}
    assert sum(not sidecar.getmember(f"usr/bin/{name}").islnk() for name in programs) == 1
    for image in (guest, disk, sidecar):
        assert {(member.uid, member.gid) for member in image} == {(107, 107)}


def test_the_same_packages_give_the_same_bytes(written: Path, tmp_path: Path) -> None:
    oci_archive.write(tmp_path / "again.tar", build.images(packages(), PREFIX))
    assert (tmp_path / "again.tar").read_bytes() == written.read_bytes()


@pytest.mark.parametrize("missing", ["usr/bin/busybox", "boot/vmlinuz-6.1.0-1-cloud-amd64"])
def test_a_package_that_has_changed_is_named(missing: str) -> None:
    with pytest.raises(ClusterError, match=r"no file (usr/bin/busybox|boot/vmlinuz-\*) any more"):
        build.images(packages(without=missing), PREFIX)


def test_the_initrd_is_what_cpio_reads() -> None:
    data = initrd({"bin/busybox": b"x" * 5, "init": b"#!"}, {"bin/sh": "busybox"}, ("sys",))
    listed = subprocess.run(
        ["cpio", "-itv", "--quiet"], input=data, capture_output=True, check=True
    ).stdout.decode()
    rows = [line.split() for line in listed.splitlines()]
    assert {(row[0], row[-1]) for row in rows} == {
        ("drwxr-xr-x", "bin"),
        ("drwxr-xr-x", "dev"),
        ("drwxr-xr-x", "sys"),
        ("-rwxr-xr-x", "bin/busybox"),
        ("-rwxr-xr-x", "init"),
        ("lrwxrwxrwx", "busybox"),
        ("crw-------", "dev/console"),
    }


def test_names_of_images() -> None:
    for good in ("localhost/a", "registry.example:5000/team/x", "a/b:1.0", "a@sha256:" + "0" * 64):
        assert image_name(good) == good
    for bad in ("https://registry.example/a", "team/", "a b", "", "Registry/Team/X", "a@sha256:1"):
        with pytest.raises(ArgumentTypeError, match=r"write it like registry\.example"):
            image_name(bad)


def test_every_case_of_a_matrix_names_the_images_that_were_asked_for() -> None:
    images = Images.below(PREFIX, "other.example/guest:7")
    text = json.dumps([case.manifest for case in matrix("smoke", images=images)])
    assert "localhost/" not in text
    for name in ("other.example/guest:7", images.disk, images.sidecar):
        assert name in text


# the sidecar


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A running one, and its socket."""
    process = subprocess.Popen(
        ["perl", str(SIDECAR), str(tmp_path)], env={**os.environ, "LC_ALL": "C"}
    )
    try:
        while not (found := list(tmp_path.glob("*.sock"))):
            assert process.poll() is None, "the sidecar has ended"
            time.sleep(0.01)
        yield process, found[0]
    finally:
        process.kill()
        process.wait()


def frame(type_: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", type_, flags, stream) + payload


def frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    found = []
    while data:
        length = int.from_bytes(data[:3], "big")
        found.append((*struct.unpack(">BBI", data[3:9]), data[9 : 9 + length]))
        data = data[9 + length :]
    return found


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    while True:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:  # it is bound, and not listened to yet
            time.sleep(0.01)
        else:
            return client


def test_the_sidecar_answers_the_one_question(
    sidecar: tuple[subprocess.Popen[bytes], Path],
) -> None:
    process, path = sidecar
    for _ in range(2):  # a launcher opens a new connection each time
        with connect(path) as client:
            client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
            client.sendall(frame(1, 4, 1, b"any headers") + frame(0, 1, 1, bytes(5)))
            client.sendall(frame(6, 0, 0, b"pingpong"))
            received = b""
            while b"grpc-status\x010" not in received or b"pingpong" not in received:
                received += client.recv(4096)
        settings, acknowledged, headers, data, trailers, pong = frames(received)
        assert settings[:3] == (4, 0, 0)
        assert acknowledged[:3] == (4, 1, 0)
        assert headers[:3] == (1, 4, 1)
        assert trailers[:3] == (1, 5, 1)
        assert pong == (6, 1, 0, b"pingpong")
        message = data[3]
        assert message[:5] == b"\0" + struct.pack(">I", len(message) - 5)
        assert message[5:] == b'\n\x0fcpu-conformance"\x08v1alpha3"\x08v1alpha2"\x08v1alpha1'
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    assert not path.exists()


def test_two_sidecars_of_one_launcher_have_sockets_of_different_names(
    sidecar: tuple[subprocess.Popen[bytes], Path], tmp_path: Path
) -> None:
    other = subprocess.Popen(["perl", str(SIDECAR), str(tmp_path)])
    try:
        while len(list(tmp_path.glob("*.sock"))) < 2:
            assert other.poll() is None
            time.sleep(0.01)
    finally:
        other.kill()
        other.wait()
