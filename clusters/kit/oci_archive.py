"""Container images as one archive that every common tool takes, without any of those tools.

It is an OCI image layout (opencontainers/image-spec, image-layout.md) whose blobs are at the
same time those of a Docker archive (``manifest.json``), as ``docker save`` writes it since
release 25. Names are given twice: ``org.opencontainers.image.ref.name`` is read by skopeo,
umoci and podman, ``io.containerd.image.name`` by containerd. Nothing in it depends on when,
where or by whom it was made.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ARCHITECTURE = "amd64"
OWNER = 107
"""The user that KubeVirt runs guests as (kubevirt pkg/util/util.go, NonRootUID)."""
ROOT = 0

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_EPOCH = "1970-01-01T00:00:00Z"

Json = dict[str, Any]


@dataclass(frozen=True)
class File:
    """A file of an image.

    Attributes:
        content: what is in it.
        mode: its permission bits.
    """

    content: bytes
    mode: int = 0o444


@dataclass(frozen=True)
class Link:
    """A symbolic link of an image."""

    target: str


@dataclass(frozen=True)
class Directory:
    """A directory of an image that no file says is there, or whose mode matters."""

    mode: int = 0o755


@dataclass(frozen=True)
class ContainerImage:
    """One image with one layer.

    Attributes:
        name: with registry or ``localhost``, and tag.
        files: by absolute path; their directories are made. Equal ones become hard links.
        entrypoint: the command that a container of it runs; empty where its user gives one.
        owner: the user and group that all of it belongs to.
        user: as whom a container runs.
        environment: of a container.
        directory: where a container starts; empty for the root.
    """

    name: str
    files: Mapping[str, File | Link | Directory]
    entrypoint: Sequence[str] = field(default=())
    owner: int = OWNER
    user: int = OWNER
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str = ""


def write(path: Path, images: Sequence[ContainerImage]) -> None:
    """Writes the archive of these images; the same images give the same bytes."""
    blobs: dict[str, bytes] = {}
    manifests: list[Json] = []
    docker: list[Json] = []

    def blob(media_type: str, data: bytes) -> Json:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    for image in images:
        tar = _layer(image)
        layer = blob(_LAYER, gzip.compress(tar, mtime=0))
        config = blob(_CONFIG, _json(_config(image, tar)))
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": config,
            "layers": [layer],
        }
        annotations = {
            "io.containerd.image.name": image.name,
            "org.opencontainers.image.ref.name": image.name,
        }
        manifests.append(blob(_MANIFEST, _json(manifest)) | {"annotations": annotations})
        docker.append(
            {"Config": _place(config), "RepoTags": [image.name], "Layers": [_place(layer)]}
        )
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}
    files = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json(index),
        "manifest.json": _json(docker),
        **{f"blobs/sha256/{digest}": data for digest, data in sorted(blobs.items())},
    }
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("blobs", "blobs/sha256"):
            archive.addfile(_directory(name, Directory(), owner=ROOT))
        for name, data in files.items():
            archive.addfile(_file(name, File(data), owner=ROOT), io.BytesIO(data))


def _config(image: ContainerImage, layer: bytes) -> Json:
    return {
        "created": _EPOCH,
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": {
            "User": str(image.user),
            **({"Entrypoint": list(image.entrypoint)} if image.entrypoint else {}),
            **(
                {"Env": [f"{k}={v}" for k, v in image.environment.items()]}
                if image.environment
                else {}
            ),
            **({"WorkingDir": image.directory} if image.directory else {}),
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created": _EPOCH, "created_by": "conform"}],
    }


def _layer(image: ContainerImage) -> bytes:
    parents = {str(parent) for path in image.files for parent in Path(path).parents} - {"/"}
    directories = {path: Directory() for path in parents}
    directories |= {path: each for path, each in image.files.items() if isinstance(each, Directory)}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, directory in sorted(directories.items()):
            tar.addfile(_directory(path.strip("/"), directory, owner=image.owner))
        names: dict[File, str] = {}
        for path, file in sorted(image.files.items()):
            match file:
                case Link(target):
                    tar.addfile(_link(path.strip("/"), target, owner=image.owner))
                case File(content):
                    member = _file(path.strip("/"), file, owner=image.owner)
                    first = names.setdefault(file, member.name)
                    if first != member.name:
                        # One program under several names is there once.
                        member.type, member.linkname, member.size = tarfile.LNKTYPE, first, 0
                    tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _directory(name: str, directory: Directory, *, owner: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, directory.mode, owner, owner
    return info


def _link(name: str, target: str, *, owner: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.uid, info.gid = (
        *(tarfile.SYMTYPE, target, 0o777),
        *(owner, owner),
    )
    return info


def _file(name: str, file: File, *, owner: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.uid, info.gid = len(file.content), file.mode, owner, owner
    return info


def _place(descriptor: Json) -> str:
    return "blobs/sha256/" + str(descriptor["digest"]).removeprefix("sha256:")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
