"""Images of an OCI archive, as a container runtime takes them.

Source: opencontainers/image-spec, image-layout.md, manifest.md, config.md.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusters.contract.provider import ClusterError
from clusters.kit.image_archives import archives

_NAME = "org.opencontainers.image.ref.name"
Json = dict[str, Any]


@dataclass(frozen=True)
class Image:
    """One image of an archive.

    Attributes:
        archive: the file that it is in.
        layer: its only layer, as a path in the archive.
        entrypoint: of a container without a ``command``.
        arguments: of a container without ``command`` and ``args``.
        environment: of a container.
        user: as whom a container runs.
        directory: where a container starts.
    """

    archive: Path
    layer: str
    entrypoint: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    user: int = 0
    directory: str = "/"

    @property
    def key(self) -> str:
        """Tells its files from those of others; fit for a file name."""
        return self.layer.rpartition("/")[2]

    def files(self) -> bytes:
        """Its files, a compressed tar. Raises ClusterError when the archive cannot be read."""
        try:
            with tarfile.open(self.archive) as tar:
                return _content(tar, self.layer)
        except (OSError, KeyError, tarfile.TarError) as error:
            raise ClusterError(f"{self.archive} cannot be read: {error}") from error


def images(source: Path) -> Mapping[str, Image]:
    """The images of an archive, or of all in a directory (``*.tar``), by name.

    Raises ClusterError when one cannot be read, or has an image that is not of one layer, as
    those of `clusters.kit.oci_archive` are.
    """
    found: dict[str, Image] = {}
    for each in archives(source):
        try:
            with tarfile.open(each.path) as tar:
                found |= dict(_images(each.path, tar))
        except (OSError, KeyError, TypeError, ValueError, tarfile.TarError) as error:
            raise ClusterError(f"{each.path} is no OCI archive of images: {error!r}") from error
    return found


def _images(path: Path, tar: tarfile.TarFile) -> Iterator[tuple[str, Image]]:
    for entry in json.loads(_content(tar, "index.json"))["manifests"]:
        name = entry["annotations"][_NAME]
        manifest = json.loads(_content(tar, _blob(entry)))
        if len(manifest["layers"]) != 1:
            raise ClusterError(
                f"the image {name} of {path} has {len(manifest['layers'])} layers: only images of "
                "one layer can be run here, as `conform image` writes them"
            )
        config: Json = json.loads(_content(tar, _blob(manifest["config"]))).get("config") or {}
        yield (
            name,
            Image(
                archive=path,
                layer=_blob(manifest["layers"][0]),
                entrypoint=_words(config.get("Entrypoint")),
                arguments=_words(config.get("Cmd")),
                environment=tuple(_assigned(each) for each in config.get("Env") or ()),
                user=int(str(config.get("User") or 0).partition(":")[0]),
                directory=config.get("WorkingDir") or "/",
            ),
        )


def _blob(described: Json) -> str:
    return "blobs/" + str(described["digest"]).replace(":", "/")


def _content(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise KeyError(f"{name} is no file")
    return file.read()


def _words(given: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(given or ())


def _assigned(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value
