"""Image archives for machines without a registry: which there are, and what is in them."""

from __future__ import annotations

import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

from clusters.contract.provider import ClusterError

_NODE = re.compile(r"(?:.*/)?kindest/node:[^/]+")
"""Names of the image that kind's nodes are made of."""


@dataclass(frozen=True)
class Archive:
    """An archive as ``docker save`` writes it.

    Attributes:
        names: of its images, such as ``kindest/node:v1.35.0``.
    """

    path: Path
    names: tuple[str, ...]

    @property
    def node_image(self) -> str | None:
        """The name of the image of kind's nodes, where it is in this archive."""
        return next((name for name in self.names if _NODE.fullmatch(name)), None)


def archives(source: Path) -> tuple[Archive, ...]:
    """The archive, or those in the directory (``*.tar``), by name.

    Raises:
        ClusterError: there is none, or one cannot be read.
    """
    paths = sorted(source.glob("*.tar")) if source.is_dir() else [source]
    if not paths:
        raise ClusterError(
            f"there is no *.tar in {source}: fill it with `docker save -o NAME.tar IMAGE...`"
        )
    return tuple(Archive(path.absolute(), _names(path)) for path in paths)


def _names(path: Path) -> tuple[str, ...]:
    """From ``manifest.json``, or of an OCI archive from its ``index.json``.

    Sources: moby image/tarexport; OCI image-spec image-layout.md and annotations.md.
    """
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if name in {"manifest.json", "index.json"}:
                    text = archive.extractfile(member)
                    names = _read(json.loads(text.read() if text else b""))
                    if names:
                        return names
    except (OSError, tarfile.TarError, ValueError, AttributeError, TypeError) as error:
        raise ClusterError(f"{path} is no image archive: {error}") from error
    return ()


def _read(content: object) -> tuple[str, ...]:
    if isinstance(content, list):
        return tuple(tag for image in content for tag in image.get("RepoTags") or ())
    if isinstance(content, dict):
        annotations = [entry.get("annotations") or {} for entry in content.get("manifests") or ()]
        keys = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
        return tuple(found[key] for found in annotations for key in keys if key in found)
    return ()
