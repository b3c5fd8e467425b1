"""Report documents of the versions before this one, brought into its form, one version a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from reports.pattern import sentence, without_sources

_STANDINGS = {"pass": "kept", "fail": "broken"}
_GUEST = ("vcpu", "emulator")


def upgraded(data: Any) -> Any:
    """What a former version said, as the current one says it; anything else as it is."""
    while isinstance(data, dict) and (step := _STEPS.get(data.get("version"))) is not None:
        version = data["version"] + 1
        try:
            data = {**step(data), "version": version}
        except (KeyError, TypeError, AttributeError, ValueError):
            data = {**data, "version": version}  # the schema says what is wrong with it
    return data


def _from_3(data: dict[str, Any]) -> dict[str, Any]:
    """Version 3 knew nothing of the setting, nor of what was not asked: a requirement without a
    finding is taken for such a one.
    """
    requirements = [_requirement(each) for each in data["requirements"]]
    mandatory = [each for each in requirements if each["level"] == "MUST"]

    def number(*standings: str) -> int:
        return sum(each["standing"] in standings for each in mandatory)

    conclusion = {
        **data["conclusion"],
        "kept": number("kept"),
        "known": number("known-divergence"),
        "applying": len(mandatory) - number("not-applicable"),
    }
    return {
        **data,
        "run": {**data["run"], "command": "", "judged_by": ""},
        "conclusion": conclusion,
        "requirements": requirements,
        "findings": [{**each, "notes": []} for each in data["findings"]],
        "setting": None,
        "selection": {"keyword": "", "tests": [], "shape": "", "left_out": 0},
    }


def _requirement(each: dict[str, Any]) -> dict[str, Any]:
    verdict = each["verdict"]
    asked = any(each["counts"].values())
    standing = _STANDINGS.get(verdict, verdict) if asked else "not-asked"
    return {**each, "standing": standing, "why": ""}


def _from_4(data: dict[str, Any]) -> dict[str, Any]:
    """Version 4 had one owner a pCPU, by the checkpoint, what it was used for by libvirt; no
    durations, no timeline, and findings without a name.
    """
    unknown: dict[str, Any] = {"phases": {}, "targets": [], "timeline": [], "last_words": []}
    return {
        **data,
        "cases": [{**each, **unknown} for each in data["cases"]],
        "findings": list(map(_finding, data["findings"])),
        "nodes": [
            {**node, "maps": [_map(each) for each in node["maps"]]} for node in data["nodes"]
        ],
    }


def _finding(each: dict[str, Any]) -> dict[str, Any]:
    case = each["case"] or each["scenario"] or "cluster"
    return {
        **each,
        "summary": sentence(without_sources(each["message"])),
        "objections": [],
        "look": "",
        "id": f"{each['requirement']}@{case}",
        "fingerprint": "",
    }


def _map(former: dict[str, Any]) -> dict[str, Any]:
    kept = {name: former[name] for name in ("case", "moment", "workload")}
    return {
        **kept,
        "claims": list(_claims(former["owners"])),
        "marks": [],
        "at": "",
        "evidence": "",
    }


def _claims(owners: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    together: dict[tuple[Any, ...], list[int]] = {}
    for each in owners:
        key = (each["kind"], each["workload"], each["container"], each["vcpu"])
        together.setdefault(key, []).append(each["cpu"])
        if each["kind"] in _GUEST:
            owned = ("exclusive", each["workload"], each["container"], None)
            together.setdefault(owned, []).append(each["cpu"])
    for (kind, workload, container, number), cpus in together.items():
        yield {
            "source": "libvirt" if kind in _GUEST else "checkpoint",
            "kind": kind,
            "cpus": ",".join(map(str, sorted(set(cpus)))),
            "workload": workload,
            "container": container,
            "number": number,
            "detail": "",
        }


def _from_5(data: dict[str, Any]) -> dict[str, Any]:
    """Version 5 knew no waivers, no nodes to be judged each, and no requirement that follows."""
    more: dict[str, Any] = {"follows": [], "unseen_without": []}
    return {
        **data,
        "selection": {**data["selection"], "nodes": {}},
        "counts": {**data["counts"], "waived": 0},
        "requirements": [
            {**each, **more, "counts": {**each["counts"], "waived": 0}}
            for each in data["requirements"]
        ],
        "waivers": [],
    }


def _from_6(data: dict[str, Any]) -> dict[str, Any]:
    """Version 6 knew no watcher."""
    return {**data, "watches": []}


_STEPS: Mapping[Any, Callable[[dict[str, Any]], dict[str, Any]]] = {
    3: _from_3,
    4: _from_4,
    5: _from_5,
    6: _from_6,
}
