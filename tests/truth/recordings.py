"""Recorded evidence, changed as another cluster would have shown it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformance.collecting.bundle import read
from conformance.judging.report import judge
from reports.document import Document, Verdict
from tests.exhibits import unpacked, without_quotas_of_pods
from tests.selfproof.recording import RECORDED_SETTING

Json = dict[str, Any]
_OF_CONTAINER = re.compile(r"(/sys/fs/cgroup/kubepods/(?:[a-z]+/)?pod[^/]+/[0-9a-f]{64})/(.+)")


class Recording:
    """Six cases of a real KubeVirt (disk, isolate-io, limits-2, ...), in a directory.

    It gets what its version of the format did not record yet: the setting of its cluster, and
    that no pod had a quota.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = unpacked("kubevirt-1.9", directory)
        without_quotas_of_pods(self.directory)
        self.use(RECORDED_SETTING)

    @property
    def run(self) -> Json:
        """``run.json``."""
        found: Json = json.loads((self.directory / "run.json").read_text())
        return found

    def use(self, setting: Mapping[str, Any] | None) -> None:
        """Gives it another setting; None for none."""
        run = {**self.run, "setting": setting}
        (self.directory / "run.json").write_text(json.dumps(run))

    def kubevirt(
        self, version: str, *, annotations: Mapping[str, str] | None = None, **configuration: Any
    ) -> None:
        """Sets the release of KubeVirt, and what its CR configures beside its gates."""
        setting = copy.deepcopy(RECORDED_SETTING)
        cr = setting["kubevirt"]
        cr["status"]["observedKubeVirtVersion"] = version
        cr["metadata"]["annotations"] = dict(annotations or {})
        gates = configuration.pop("gates", ())
        cr["spec"]["configuration"]["developerConfiguration"]["featureGates"] += gates
        cr["spec"]["configuration"] |= configuration
        self.use(setting)

    def rewrite(self, *pairs: tuple[str, str], case: str = "") -> int:
        """Replaces texts in every snapshot and what belongs to it, or in those of one case.

        Returns how many files changed: nothing changed proves nothing.
        """
        wanted = f"{case}." if case else ""
        snapshots = list((self.directory / "snapshots").glob(f"{wanted}*.json"))
        shared = [json.loads(path.read_text())["on_node"] for path in snapshots]
        paths = [*snapshots, *(self.directory / "nodes" / f"{name}.json" for name in set(shared))]
        changed = 0
        for path in paths:
            before = after = path.read_text()
            for old, new in pairs:
                after = after.replace(old, new)
            if after != before:
                path.write_text(after)
                changed += 1
        return changed

    def judged(self) -> Document:
        """The document that `conform judge` makes of it."""
        return judge(read(self.directory))

    def by_verdict(self, verdict: Verdict, requirement: str = "") -> set[str]:
        """Requirements, or with one the cases, that have a finding of a verdict."""
        return {
            each.case if requirement else each.requirement
            for each in self.judged().findings
            if each.verdict is verdict and requirement in ("", each.requirement)
        }

    def failed(self) -> set[str]:
        """Requirements that fail."""
        return self.by_verdict(Verdict.FAIL)

    def nested(self, below: str) -> int:
        """Moves what is in each container's cgroup into one below it, as crun does.

        Returns how many containers there were.
        """
        moved = 0
        for path in (self.directory / "nodes").glob("*.json"):
            pods, files = json.loads(path.read_text())
            inner: dict[str, str] = {}
            for name, text in files.items():
                if found := _OF_CONTAINER.fullmatch(name):
                    scope, rest = found.groups()
                    inner[f"{scope}/{below}/{rest}"] = text
                    inner |= {f"{scope}/cpuset.cpus.effective": "0-11\n"}
                    inner |= {f"{scope}/cgroup.threads": ""}
                    moved += rest == "cgroup.threads"
            kept = {name: t for name, t in files.items() if not _OF_CONTAINER.fullmatch(name)}
            path.write_text(json.dumps([pods, kept | inner]))
        return moved

    def verdicts(self, requirement: str) -> set[str]:
        """What was found of a requirement."""
        found = self.judged().findings
        return {str(each.verdict) for each in found if each.requirement == requirement}
