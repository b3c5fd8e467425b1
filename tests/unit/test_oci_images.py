"""Images of an archive, as a node of the reference stack takes them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from clusters.contract.provider import ClusterError
from clusters.kit import oci_archive
from clusters.kit.oci_archive import ContainerImage, File
from clusters.kit.oci_images import images

NAME = "registry.example/team/tool:latest"


def archive(path: Path) -> Path:
    made = ContainerImage(
        NAME,
        {"/usr/bin/tool": File(b"#!/bin/sh\n", 0o755)},
        ("/usr/bin/tool",),
        owner=0,
        user=65532,
        environment={"HOME": "/tmp", "OPTIONS": "a=b"},
        directory="/tmp",
    )
    oci_archive.write(path, [made])
    return path


def test_an_image_says_what_its_containers_run(tmp_path: Path) -> None:
    found = images(archive(tmp_path / "a.tar"))
    assert set(found) == {NAME}
    image = found[NAME]
    assert image.entrypoint == ("/usr/bin/tool",)
    assert image.arguments == ()
    assert dict(image.environment) == {"HOME": "/tmp", "OPTIONS": "a=b"}
    assert (image.user, image.directory) == (65532, "/tmp")
    with tarfile.open(fileobj=io.BytesIO(image.files()), mode="r:gz") as files:
        assert "usr/bin/tool" in files.getnames()


def test_archives_of_a_directory_are_all_taken(tmp_path: Path) -> None:
    archive(tmp_path / "a.tar")
    assert set(images(tmp_path)) == {NAME}


def test_an_image_of_two_layers_is_refused(tmp_path: Path) -> None:
    whole = {}
    with tarfile.open(archive(tmp_path / "a.tar")) as tar:
        for member in tar:
            file = tar.extractfile(member)
            whole[member.name] = file.read() if file else None
    index = json.loads(whole["index.json"] or b"")
    place = "blobs/" + index["manifests"][0]["digest"].replace(":", "/")
    manifest = json.loads(whole[place] or b"")
    manifest["layers"] *= 2
    whole[place] = json.dumps(manifest).encode()
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        for name, data in whole.items():
            if data is not None:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    with pytest.raises(ClusterError, match="2 layers"):
        images(tmp_path / "b.tar")


@pytest.mark.parametrize("content", [{"manifest.json": b"[]"}, {"index.json": b"[]"}, {}])
def test_what_is_no_oci_archive_is_refused(tmp_path: Path, content: dict[str, bytes]) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with pytest.raises(ClusterError, match=r"a\.tar is no OCI archive of images"):
        images(path)
