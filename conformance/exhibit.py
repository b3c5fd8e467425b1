"""Recordings kept as examples: a bundle, and beside it the findings that it must give."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Set
from pathlib import Path

from conformance.collecting import bundle
from conformance.collecting.packing import pack, unpack
from conformance.judging.report import judge
from reports.document import Document, Verdict

BUNDLE = ".tar.xz"
FINDINGS = ".json"


def record(folder: Path, name: str, report_dir: Path | None, cases: Set[str]) -> Document:
    """Writes ``NAME.tar.xz`` and ``NAME.json`` into a folder; returns what was found.

    Args:
        folder: where recordings are.
        name: of the recording.
        report_dir: of a run or an audit, with ``evidence/``. None writes ``NAME.json`` anew.
        cases: those that it is about, by their ids; all if there are none.

    Raises:
        BundleError: there is no evidence, or none of a case.
        FileExistsError: there is a recording of that name.
        OSError: a file cannot be written.
    """
    file = folder / f"{name}{BUNDLE}"
    if report_dir is not None:
        pack(report_dir, file, without_secrets=True, cases=cases)
    document = judged(file)
    told = {"verdict": document.conclusion.outcome.value, "findings": findings(document)}
    (folder / f"{name}{FINDINGS}").write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
    return document


def judged(file: Path) -> Document:
    """What a bundle gives now. Raises BundleError."""
    with tempfile.TemporaryDirectory(prefix="conform-") as directory:
        unpack(file, Path(directory))
        return judge(bundle.read(Path(directory) / "evidence"))


def expected(file: Path) -> Mapping[str, str]:
    """The findings that a bundle must give, from the file beside it: verdicts by their ids."""
    beside = file.with_name(file.name.removesuffix(BUNDLE) + FINDINGS)
    found: Mapping[str, str] = json.loads(beside.read_text())["findings"]
    return found


def findings(document: Document) -> Mapping[str, str]:
    """Verdicts by the ids of findings; what does not apply says nothing of a cluster."""
    return {
        each.id: each.verdict.value
        for each in document.findings
        if each.verdict is not Verdict.NOT_APPLICABLE
    }
