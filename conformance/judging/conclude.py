"""The verdict on a whole run, from its findings."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.exits import Exit
from conformance.judging.terms import Terms
from reports import document as report


def conclude(
    terms: Terms,
    findings: Sequence[report.Finding],
    problems: Sequence[report.Problem],
    *,
    interrupted: bool,
) -> report.Conclusion:
    """What all findings together say; a problem of the run is never a failure of the cluster."""
    mandatory = {each.id for each in terms.requirements() if each.mandatory}
    hard = [finding for finding in findings if finding.requirement in mandatory]

    def of(*verdicts: report.Verdict) -> list[str]:
        return sorted({f.requirement for f in hard if f.verdict in verdicts})

    failed = of(report.Verdict.FAIL)
    unseen = of(report.Verdict.NOT_OBSERVED, report.Verdict.ERROR)
    if interrupted:
        return report.Conclusion(
            report.Outcome.INTERRUPTED,
            f"The run was interrupted; {len(failed)} requirements had failed so far.",
            Exit.INTERRUPTED,
        )
    if failed:
        return report.Conclusion(
            report.Outcome.NOT_CONFORMANT,
            f"Mandatory requirements were broken: {', '.join(failed)}.",
            Exit.NOT_CONFORMANT,
        )
    # What does not apply is no evidence of anything.
    judged = [finding for finding in hard if finding.verdict is not report.Verdict.NOT_APPLICABLE]
    if unseen or problems or not judged:
        reasons = [
            f"mandatory requirements could not be observed: {', '.join(unseen)}" if unseen else "",
            f"{problems[0].during} failed: {problems[0].message}" if problems else "",
            "" if judged else "nothing mandatory was judged",
        ]
        text = "; ".join(filter(None, reasons)).rstrip(".")
        return report.Conclusion(
            report.Outcome.INCONCLUSIVE, text[0].upper() + text[1:] + ".", Exit.INCONCLUSIVE
        )
    return report.Conclusion(
        report.Outcome.CONFORMANT,
        f"Every mandatory requirement was observed and kept, in {len(hard)} judgements.",
        Exit.CONFORMANT,
    )
