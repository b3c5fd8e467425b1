"""Every fact that is parsed of the evidence is read by a check, or says here why not."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable
from pathlib import Path

from conformance.model import evidence

CONFORMANCE = Path(__file__).parents[2] / "conformance"
READ_ELSEWHERE = {
    "Container.image": "shown in reports alone: nothing is promised of images",
    "Domain.type": "threads of QEMU tell emulation from KVM by their names",
    "DomainTopology.clusters": "the guest says its topology; with hotplug the domain's is larger",
    "DomainTopology.dies": "as clusters",
    "Kubelet.options": "read by Kubelet.enables",
    "Kubelet.reconcile_seconds": "read by conformance/judging/loops.py",
    "Migration.completed": "read by Migration.under_way",
    "Migration.target": "told by conformance/parsing/assemble.py of a look that it tears",
    "Pod.affinity_labels": "read by Pod.required_labels",
    "Pod.node_selector": "read by Pod.required_labels",
    "Snapshot.case": "whose evidence it is",
    "Snapshot.clock": "read by conformance/judging/loops.py",
    "Snapshot.gone": "read by conformance/judging/loops.py",
    "Snapshot.manifest": "the oracle reads it",
    "Snapshot.scenario": "whose evidence it is",
    "Snapshot.unlisted": "read through Snapshot.around",
    "Story.profile": "read by conformance/judging/decide.py",
    "Story.scenario": "whose evidence it is",
}


def read_by(modules: Iterable[Path]) -> set[str]:
    """Names of every attribute that these modules ask for."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in modules]
    return {
        each.attr for tree in trees for each in ast.walk(tree) if isinstance(each, ast.Attribute)
    }


def test_each_fact_is_read_by_a_check_or_says_why_not() -> None:
    asked = read_by((CONFORMANCE / "checks").glob("*.py"))
    unread = {
        f"{name}.{each.name}"
        for name, kind in vars(evidence).items()
        if dataclasses.is_dataclass(kind)
        and kind.__module__ == evidence.__name__
        and not name.startswith("Raw")
        for each in dataclasses.fields(kind)
        if each.name not in asked
    }
    assert unread == set(READ_ELSEWHERE)
