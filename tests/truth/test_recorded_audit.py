"""Audits of three VMIs that nobody made for a run, on a real KubeVirt v1.8.4.

First as they were. Then with a vCPU of ``web`` moved to the pCPU of the other by ``taskset``, and
with a wider cpuset of ``cache``. At last, both put right, with a container of the shared pool on a
pCPU of ``db``; that one with ``--libvirt``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.collecting.bundle import read
from conformance.exits import Exit
from conformance.judging.report import judge
from reports.document import Document, Verdict
from tests.exhibits import unpacked


def broken(document: Document) -> dict[str, set[str]]:
    """Requirements by whose they are."""
    found: dict[str, set[str]] = {}
    for each in document.findings:
        if each.verdict is Verdict.FAIL:
            found.setdefault(each.case, set()).add(each.requirement)
    return found


@pytest.mark.parametrize(
    ("audit", "wrong"),
    [
        ("healthy", {}),
        (
            "moved",
            {
                "byhand.web": {"PIN-THREADS"},
                "byhand.cache": {"CPU-COUNT", "CPU-EXCLUSIVE", "PIN-THREADS"},
            },
        ),
        ("intruder", {"byhand.db": {"CPU-EXCLUSIVE"}, "_nodes/node-1": {"CPU-POOL"}}),
    ],
)
def test_who_was_made_wrong_is_named_and_nobody_else(
    tmp_path: Path, audit: str, wrong: dict[str, set[str]]
) -> None:
    document = judge(read(unpacked(f"audit-1.8.4-{audit}", tmp_path)))
    assert broken(document) == wrong
    assert {each.verdict for each in document.findings} <= {
        *(Verdict.PASS, Verdict.NOT_APPLICABLE),
        *((Verdict.FAIL,) if wrong else ()),
    }
    expected = Exit.NOT_CONFORMANT if wrong else Exit.CONFORMANT
    assert document.conclusion.exit_code == expected
    judged = {each.case for each in document.findings}
    assert judged == {"byhand.web", "byhand.db", "byhand.cache", "_nodes/node-1"}
