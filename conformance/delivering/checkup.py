"""A ConfigMap in the form of KubeVirt's checkups: parameters in, status and results out.

Source of the form: kiagnose and kubevirt's checkups, whose users read the same keys:
``status.succeeded``, ``status.failureReason``, ``status.startTimestamp``,
``status.completionTimestamp``, ``status.result.*``. Reports go beside them as files:
``summary.md``, and compressed ``junit.xml.gz`` and ``report.json.gz``.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from clusters.contract.provider import ClusterError
from clusters.kit.api import Api, ApiError
from conformance.delivering.receiving import Result
from conformance.exits import Exit
from reports.document import Document, Standing

STATUS = "status."
RESULT = "status.result."
LARGEST = 1_000_000
"""Bytes of all values: the API takes 1 MiB, of keys and values together."""
_SUMMARY = 128_000
_REASON = 4_000
_COMPRESSED = ("junit.xml", "report.json")
_CUT = "\n\nCut off here: the ConfigMap has no room for more.\n"


class CheckupConfigMap:
    """`conformance.delivering.receiving.Receiver` of one ConfigMap, which is there already."""

    def __init__(self, api: Api, namespace: str, name: str) -> None:
        self._api = api
        self._name = f"{namespace}/{name}"
        self._path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"

    def data(self) -> Mapping[str, str]:
        """What is in it. Raises ClusterError."""
        try:
            return self._api.get(self._path).get("data") or {}
        except ApiError as error:
            raise ClusterError(f"the ConfigMap {self._name} cannot be read: {error}") from error

    def begin(self) -> None:
        """Takes away what a former run wrote, and says that one has begun."""
        former = {key: None for key in self.data() if key.startswith(STATUS)}
        files = dict.fromkeys(f"{name}.gz" for name in _COMPRESSED)
        now = {f"{STATUS}startTimestamp": _now()}
        self._write({**former, "summary.md": None, **now}, files)

    def end(self, result: Result) -> None:
        """Writes status and results."""
        data, files = written(result)
        self._write(data, {name: base64.b64encode(each).decode() for name, each in files.items()})

    def _write(self, data: Mapping[str, str | None], files: Mapping[str, str | None]) -> None:
        try:
            self._api.merge(self._path, {"data": dict(data), "binaryData": dict(files)})
        except ApiError as error:
            raise ClusterError(f"the ConfigMap {self._name} was not written: {error}") from error


def written(result: Result) -> tuple[dict[str, str], dict[str, bytes]]:
    """Texts and files of the ConfigMap, which has room for them.

    What is too large for it is left out, and named in ``status.result.left-out``.
    """
    document = result.document
    data = {
        f"{STATUS}succeeded": "true" if result.code == Exit.CONFORMANT else "false",
        f"{STATUS}failureReason": _failure(result)[:_REASON],
        f"{STATUS}completionTimestamp": _now(),
        f"{RESULT}exit-code": str(result.code),
        **(_results(document) if document else {}),
    }
    if document is None:
        return data, {}
    data["summary.md"] = _cut(result.directory / "summary.md")
    files: dict[str, bytes] = {}
    room = LARGEST - sum(len(key) + len(value.encode()) for key, value in data.items())
    left = []
    for name in _COMPRESSED:
        packed = gzip.compress((result.directory / name).read_bytes(), mtime=0)
        if len(packed) <= room:
            files[f"{name}.gz"] = packed
            room -= len(packed)
        else:
            left.append(name)
    if left:
        data[f"{RESULT}left-out"] = f"{', '.join(left)}: too large for a ConfigMap"
    return data, files


def _results(document: Document) -> dict[str, str]:
    conclusion = document.conclusion
    broken = [each.id for each in document.requirements if each.standing is Standing.BROKEN]
    counts = {f"{RESULT}findings.{verdict}": str(n) for verdict, n in document.counts.items()}
    return {
        f"{RESULT}verdict": conclusion.outcome,
        f"{RESULT}reason": conclusion.reason[:_REASON],
        f"{RESULT}requirements-kept": str(conclusion.kept),
        f"{RESULT}requirements-applying": str(conclusion.applying),
        f"{RESULT}requirements-broken": ",".join(broken),
        f"{RESULT}stack": document.cluster.stack,
        f"{RESULT}run": document.run.id,
        **counts,
    }


def _failure(result: Result) -> str:
    if result.code == Exit.CONFORMANT:
        return ""
    if result.document is None:
        return result.why or f"exit code {result.code}, without a report: see the log of the pod"
    return f"{result.document.conclusion.outcome}: {result.document.conclusion.reason}"


def _cut(path: Path) -> str:
    data = path.read_bytes()
    if len(data) <= _SUMMARY:
        return data.decode(errors="replace")
    return data[: _SUMMARY - len(_CUT)].decode(errors="ignore") + _CUT


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
