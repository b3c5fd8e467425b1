"""Evidence as one file: to be handed around, safe to open, without what is nobody's business.

The file is a tar archive of ``evidence/`` and ``report.json``, compressed by xz.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path, PurePosixPath
from typing import Any

from conformance.collecting import foreign
from conformance.collecting.excerpt import excerpt
from conformance.collecting.foreign import BundleError

LARGEST = 4096 * foreign.MIB
"""Of everything in a bundle together, unpacked."""
_MOST = 500_000
"""Files of a bundle."""
_FOLDERS = ("snapshots", "problems", "hardware", "nodes", "watch", "logs")
_FILES = ("run.json", "faults.jsonl", "given-back.jsonl", "endings.jsonl")
REDACTED = "REDACTED"
_HIDDEN_KEYS = frozenset({"podIP", "hostIP", "ip", "clusterIP", "externalIP", "address"})
_SECRETS = frozenset({"data", "stringData", "binaryData"})
_ADDRESS = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])")
_OURS = ("kubevirt.io", "kubernetes.io", "k8s.io")


def pack(
    report_dir: Path, file: Path, *, without_secrets: bool, cases: Set[str] = frozenset()
) -> int:
    """Writes the bundle of a report directory; returns the number of files in it.

    Args:
        report_dir: with ``evidence/``.
        file: the bundle, which must not be there yet.
        without_secrets: leaves out logs, and replaces values of environment variables, of Secrets
            and ConfigMaps, addresses, and annotations that are not of Kubernetes or KubeVirt.
            Names stay: `conformance.auditing.redaction` replaces them while they are recorded.
        cases: those that it is about, by their ids; all if there are none.

    Raises:
        BundleError: there is no evidence, or it cannot be read.
        OSError: the file cannot be written.
    """
    evidence = report_dir / "evidence"
    foreign.read(evidence, "run.json", foreign.LARGEST_RUN)  # or there is none
    number = 0
    with file.open("xb") as out:
        try:
            with tarfile.open(fileobj=out, mode="w:xz") as archive:
                for name, text in _texts(evidence, cases, logs=not without_secrets):
                    shown = _cleaned(name, text) if without_secrets else text
                    _add(archive, f"evidence/{name}", shown)
                    number += 1
                if not (without_secrets or cases) and (report_dir / "report.json").is_file():
                    _add(archive, "report.json", foreign.read(report_dir, "report.json", LARGEST))
                    number += 1
        except BaseException:
            file.unlink()
            raise
    return number


def unpack(file: Path, directory: Path) -> None:
    """Writes what a bundle holds below a directory: nothing else, and nowhere else.

    Raises:
        BundleError: it is no bundle, or holds what no bundle does.
    """
    room = LARGEST
    try:
        with tarfile.open(file, mode="r:xz") as archive:
            for number, member in enumerate(archive):
                if number >= _MOST or member.size > room:
                    raise BundleError(f"{file} is larger than any bundle")
                room -= member.size
                if not member.isreg() or not _belongs(member.name):
                    raise BundleError(f"{file} holds {member.name!r:.200}, which no bundle does")
                target = directory / member.name
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                content = archive.extractfile(member)
                assert content is not None
                with target.open("xb") as out:
                    out.write(content.read(member.size))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BundleError(f"{file} is no bundle that can be read: {error}") from error


def _texts(evidence: Path, cases: Set[str], *, logs: bool) -> Iterator[tuple[str, str]]:
    names = _names(evidence, logs=logs)
    if cases:
        yield from excerpt(evidence, names, cases)
        return
    for name in names:
        yield name, foreign.read(evidence, name, foreign.LARGEST_RUN)


def _names(evidence: Path, *, logs: bool) -> list[str]:
    found = [name for name in _FILES if (evidence / name).is_file()]
    for folder in _FOLDERS:
        if logs or folder != "logs":
            found += [f"{folder}/{name}" for name in foreign.names(evidence, folder)]
    return found


def _belongs(name: str) -> bool:
    parts = PurePosixPath(name).parts
    if ".." in parts or "/".join(parts) != name:
        return False
    match parts:
        case ("report.json",) | ("evidence", _):
            return name == "report.json" or parts[1] in _FILES
        case ("evidence", folder, _):
            return folder in _FOLDERS
    return False


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode("utf-8", "replace")
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    archive.addfile(member, io.BytesIO(data))


def _cleaned(name: str, text: str) -> str:
    if name.endswith(".jsonl") or name.startswith("watch/"):
        return _ADDRESS.sub(REDACTED, text)
    try:
        value = foreign.parse(text, name)
    except BundleError:
        return json.dumps(REDACTED)
    return json.dumps(_without_secrets(value))


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return _ADDRESS.sub(REDACTED, value) if "." in value else value
    if isinstance(value, list):
        return [_without_secrets(each) for each in value]
    if not isinstance(value, dict):
        return value
    hide: Mapping[str, Callable[[Any], Any]] = {"env": _values, "annotations": _annotations}
    secret = value.get("kind") in ("Secret", "ConfigMap")
    return {
        key: (
            REDACTED
            if key in _HIDDEN_KEYS and isinstance(each, str)
            else dict.fromkeys(each, REDACTED)
            if secret and key in _SECRETS and isinstance(each, dict)
            else hide[key](each)
            if key in hide
            else _without_secrets(each)
        )
        for key, each in value.items()
    }


def _values(env: Any) -> Any:
    """Environment variables by their names."""
    if not isinstance(env, list):
        return _without_secrets(env)
    return [
        {**each, "value": REDACTED} if isinstance(each, dict) and "value" in each else each
        for each in env
    ]


def _annotations(found: Any) -> Any:
    if not isinstance(found, dict):
        return _without_secrets(found)
    return {
        key: _without_secrets(each) if key.split("/")[0].endswith(_OURS) else REDACTED
        for key, each in found.items()
        if "last-applied-configuration" not in key
    }
