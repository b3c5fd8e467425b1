"""Report documents of the version before this one, brought into its form."""

from __future__ import annotations

from typing import Any

FORMER = 3
_STANDINGS = {"pass": "kept", "fail": "broken"}


def upgraded(data: Any) -> Any:
    """What version 3 said, as version 4 says it; anything else as it is.

    Version 3 knew nothing of the setting, nor of what was not asked: a requirement without a
    finding is taken for such a one.
    """
    if not isinstance(data, dict) or data.get("version") != FORMER:
        return data
    try:
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
            "version": FORMER + 1,
        }
    except (KeyError, TypeError, AttributeError):
        return {**data, "version": FORMER + 1}  # the schema says what is wrong with it


def _requirement(each: dict[str, Any]) -> dict[str, Any]:
    verdict = each["verdict"]
    asked = any(each["counts"].values())
    standing = _STANDINGS.get(verdict, verdict) if asked else "not-asked"
    return {**each, "standing": standing, "why": ""}
