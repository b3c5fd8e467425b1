"""The verdict on a whole run, from what it says of each requirement.

Only a finding ``fail`` of a mandatory requirement makes a run NOT CONFORMANT. An exception of this
tool, a problem of the run or a mandatory requirement that was asked and not observed leaves it
INCONCLUSIVE, however much was kept. CONFORMANT stands alone when every mandatory requirement that
applies was kept; short of that, and of the whole of a matrix, the verdict says how much was. A
failure that is waived is counted apart, and never makes CONFORMANT stand alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from conformance.exits import Exit, Insist
from conformance.judging.coverage import Covered
from reports.document import Conclusion, Outcome, Problem, Standing, Waiver, WaiverState
from reports.wording import shortened, some

_NAMES = 8
"""Requirements that the reason names of those that were not observed; the report has them all."""
_PROBLEM = 400
"""Characters of a problem in the conclusion; the report has it in full."""


@dataclass(frozen=True)
class Extent:
    """How far a run came.

    Attributes:
        judgements: findings that are not ``not-applicable``.
        planned: cases and scenarios that were selected.
        seen: those that left evidence.
        partial: whether the selection is not the whole of its matrix.
        interrupted: whether somebody stopped it.
    """

    judgements: int
    planned: int
    seen: int
    partial: bool = False
    interrupted: bool = False


def _causes_first(covered: Sequence[Covered]) -> list[str]:
    """What is broken; what may follow from more of the others comes later."""
    found = {
        each.requirement.id: each.requirement.follows
        for each in covered
        if each.standing is Standing.BROKEN
    }
    return sorted(found, key=lambda name: len(found.keys() & set(found[name])))


def conclude(
    covered: Sequence[Covered],
    problems: Sequence[Problem],
    extent: Extent,
    insist: Insist | None = None,
    waivers: Sequence[Waiver] = (),
) -> Conclusion:
    """What the whole run says; a problem of the run is never a failure of the cluster."""
    mandatory = [each for each in covered if each.requirement.mandatory]

    def of(standing: Standing) -> list[str]:
        return [each.requirement.id for each in mandatory if each.standing is standing]

    applying = len(mandatory) - len(of(Standing.NOT_APPLICABLE))
    broken, kept = _causes_first(mandatory), of(Standing.KEPT)
    open_ = _open(of(Standing.ERROR), of(Standing.NOT_OBSERVED), problems)

    def conclusion(outcome: Outcome, code: Exit, *sentences: str) -> Conclusion:
        sentences = (*sentences, _optional(covered), _expired(waivers))
        reason = " ".join(f"{text[0].upper()}{text[1:].rstrip('.')}." for text in sentences if text)
        known = len(of(Standing.KNOWN_DIVERGENCE))
        return Conclusion(outcome, reason, code, len(kept), known, applying)

    if extent.interrupted:
        return conclusion(
            Outcome.INTERRUPTED,
            Exit.INTERRUPTED,
            f"the run was interrupted: {extent.seen} of {extent.planned} cases and scenarios left "
            "evidence",
            f"broken so far: {', '.join(broken)}" if broken else "nothing was broken so far",
            f"kept so far: {len(kept)} of {applying} mandatory requirements that apply"
            if kept
            else "",
        )
    if broken:
        return conclusion(
            Outcome.NOT_CONFORMANT,
            Exit.NOT_CONFORMANT,
            f"mandatory requirements were broken: {', '.join(broken)}",
            f"beside that, {open_}" if open_ else "",
            _waived(waivers),
        )
    if open_ or not kept:
        nothing = "no mandatory requirement was seen to be kept"
        return conclusion(
            Outcome.INCONCLUSIVE,
            Exit.INCONCLUSIVE,
            "; ".join(filter(None, (open_, "" if kept else nothing))),
            _waived(waivers),
        )
    unasked = _unasked(of(Standing.NOT_ASKED), extent)
    known = _known(of(Standing.KNOWN_DIVERGENCE))
    waived = _waived(waivers)
    if not unasked and not known and not waived:
        return conclusion(
            Outcome.CONFORMANT,
            Exit.CONFORMANT,
            f"every one of the {applying} mandatory requirements that apply was observed and kept, "
            f"in {extent.judgements} judgements",
        )
    missing = {None: "", Insist.ASKED: unasked, Insist.KEPT: unasked or known or waived}[insist]
    found = conclusion(
        Outcome.CONFORMANT_AS_ASKED,
        Exit.CONFORMANT,
        "nothing mandatory that was asked was broken or left open"
        if _optional(covered)
        else "nothing that was asked was broken or left open",
        waived,
        known,
        unasked,
    )
    if missing:
        return replace(
            found,
            outcome=Outcome.INCONCLUSIVE,
            exit_code=Exit.INCONCLUSIVE,
            reason=f"--insist asks for the whole. {found.reason}",
        )
    return found


def _optional(covered: Sequence[Covered]) -> str:
    """What was broken and decides nothing."""
    broken = [
        each.requirement.id
        for each in covered
        if each.standing is Standing.BROKEN and not each.requirement.mandatory
    ]
    return f"broken, and not mandatory: {', '.join(broken)}" if broken else ""


def _open(errors: Sequence[str], unseen: Sequence[str], problems: Sequence[Problem]) -> str:
    """What keeps a run from a verdict, or nothing."""
    # What went wrong first explains what was not seen.
    parts = (
        f"{problems[0].during} failed: {shortened(problems[0].message, _PROBLEM)}"
        if problems
        else "",
        f"and {len(problems) - 1} more problem{'s' if len(problems) > 2 else ''}"
        if len(problems) > 1
        else "",
        f"this tool itself failed while it judged {', '.join(errors)}" if errors else "",
        f"mandatory requirements could not be observed: {some(unseen, _NAMES)}" if unseen else "",
    )
    return "; ".join(part.rstrip(".") for part in parts if part)


def _waived(waivers: Sequence[Waiver]) -> str:
    applied = [each for each in waivers if each.state is WaiverState.APPLIED]
    number = sum(each.findings for each in applied)
    ids = ", ".join(dict.fromkeys(each.requirement for each in applied))
    return f"{number} failures are waived, of {ids}" if applied else ""


def _expired(waivers: Sequence[Waiver]) -> str:
    over = [each for each in waivers if each.state is WaiverState.EXPIRED]
    names = ", ".join(f"{each.requirement} ({each.expires})" for each in over)
    return f"waivers that have expired, and waive nothing: {names}" if over else ""


def _known(ids: Sequence[str]) -> str:
    return f"known not to be kept by this release: {', '.join(ids)}" if ids else ""


def _unasked(ids: Sequence[str], extent: Extent) -> str:
    if ids:
        return f"not asked: {', '.join(ids)}"
    return "only a part of the matrix was selected" if extent.partial else ""
