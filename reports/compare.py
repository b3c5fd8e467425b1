"""Two runs side by side: what broke, what was mended, what is new, what is not seen any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reports.causes import Cause, grouped
from reports.document import Document, Finding, OwnerKind, Source, Verdict
from reports.wording import setting_facts

_WRONG = (Verdict.FAIL, Verdict.ERROR, Verdict.WAIVED)
_TOLD = (Verdict.PASS, Verdict.FAIL, Verdict.WAIVED, Verdict.KNOWN_DIVERGENCE)
_OF_A_RUN = ("Command", "Selection")
"""Facts that tell how a run was asked for, not what was judged."""


@dataclass(frozen=True)
class Difference:
    """Something that is not the same in both runs."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Comparison:
    """What changed from one run to another.

    Attributes:
        broke: wrong now, and not before; by cause.
        mended: wrong before, kept now.
        still: wrong before and now.
        unseen: told before, and not any more: not observed, or no case is about it.
        new: told now, and not before; what of it is wrong is in `broke` too.
        setting: versions and settings that differ.
        assignments: pCPUs that the VMI of a case was given, where they differ.
    """

    broke: tuple[Cause, ...]
    mended: tuple[Finding, ...]
    still: tuple[Finding, ...]
    unseen: tuple[Finding, ...]
    new: tuple[Finding, ...]
    setting: tuple[Difference, ...]
    assignments: tuple[Difference, ...]

    @property
    def exit_code(self) -> int:
        """For a gate: 1 when something broke, 2 when something is not seen any more."""
        return 1 if self.broke else 2 if self.unseen else 0


def compare(before: Document, after: Document) -> Comparison:
    """What changed from `before` to `after`, finding by finding (`Finding.id`)."""
    old = {each.id: each for each in before.findings}
    now = {each.id: each for each in after.findings}
    broke = [
        each
        for id_, each in now.items()
        if each.verdict in _WRONG and (id_ not in old or old[id_].verdict not in _WRONG)
    ]
    pairs = [(old[id_], now[id_]) for id_ in old if id_ in now]
    return Comparison(
        broke=tuple(grouped(broke, after)),
        mended=tuple(b for a, b in pairs if a.verdict in _WRONG and b.verdict is Verdict.PASS),
        still=tuple(b for a, b in pairs if a.verdict in _WRONG and b.verdict in _WRONG),
        unseen=tuple(
            each
            for id_, each in old.items()
            if each.verdict in _TOLD
            and (id_ not in now or now[id_].verdict is Verdict.NOT_OBSERVED)
        ),
        new=tuple(
            each
            for id_, each in now.items()
            if each.verdict in _TOLD
            and (id_ not in old or old[id_].verdict is Verdict.NOT_OBSERVED)
        ),
        setting=tuple(_differences(dict(_facts(before)), dict(_facts(after)))),
        assignments=tuple(_differences(_assignments(before), _assignments(after), missing=False)),
    )


def _facts(document: Document) -> Iterator[tuple[str, str]]:
    yield "Stack", document.cluster.stack
    yield "Provider", document.cluster.provider
    yield "Profile", document.profile
    yield "Matrix", document.matrix
    yield from ((f"Node {name}: CPUs", text) for name, text in document.cluster.nodes.items())
    yield from (each for each in setting_facts(document) if each[0] not in _OF_A_RUN)
    for capability in document.capabilities:
        known = {True: "yes", False: "no", None: "not known"}[capability.present]
        yield f"Capability {capability.name}", known


def _assignments(document: Document) -> Mapping[str, str]:
    """The pCPUs of each case's own VMI, by case, moment and node."""
    return {
        f"{cpu_map.case}, {cpu_map.moment}, {node.name}": claim.cpus
        for node in document.nodes
        for cpu_map in node.maps
        for claim in cpu_map.claims
        if claim.source is Source.CHECKPOINT
        and claim.kind is OwnerKind.EXCLUSIVE
        and claim.workload == cpu_map.workload
    }


def _differences(
    before: Mapping[str, str], after: Mapping[str, str], *, missing: bool = True
) -> Iterator[Difference]:
    for what in dict.fromkeys((*before, *after)):
        both = what in before and what in after
        if (both or missing) and before.get(what) != after.get(what):
            yield Difference(what, before.get(what, ""), after.get(what, ""))


def lines(found: Comparison, before: str, after: str) -> Iterator[str]:
    """The comparison as text, a line each; the parts that are empty say so in one."""
    yield f"from {before} to {after}"
    yield f"broke: {sum(len(each.whole) for each in found.broke) or 'nothing'}"
    for cause in found.broke:
        yield f"  {', '.join(cause.requirements)} in {_where(cause.findings)}"
        yield f"    {cause.finding.summary or cause.finding.message}"
        follow = dict.fromkeys(id_ for each in cause.consequences for id_ in each.requirements)
        if follow:
            yield f"    and in the same cases {', '.join(follow)}"
    for what, findings in (
        ("mended", found.mended),
        ("still broken", found.still),
        ("not seen any more", found.unseen),
        ("new", found.new),
    ):
        yield f"{what}: {len(findings) or 'nothing'}"
        for name, cases in _by_requirement(findings).items():
            yield f"  {name} in {cases}"
    for what, differences in (("setting", found.setting), ("pCPUs given", found.assignments)):
        yield f"{what}: {f'{len(differences)} differ' if differences else 'the same'}"
        for each in differences:
            yield f"  {each.what}: {each.before or 'nothing'} -> {each.after or 'nothing'}"


def _where(findings: Sequence[Finding]) -> str:
    cases = list(dict.fromkeys(each.case or each.scenario or "the cluster" for each in findings))
    more = f" and {len(cases) - 5} more" if len(cases) > 5 else ""
    return ", ".join(cases[:5]) + more


def _by_requirement(findings: Sequence[Finding]) -> Mapping[str, str]:
    names = dict.fromkeys(each.requirement for each in findings)
    return {name: _where([f for f in findings if f.requirement == name]) for name in names}


def page(found: Comparison, before: str, after: str) -> str:
    """The comparison as a page of its own."""
    from reports.html import environment

    return (
        environment()
        .get_template("compare.html.j2")
        .render(
            found=found,
            before=before,
            after=after,
            mended=_by_requirement(found.mended),
            still=_by_requirement(found.still),
            unseen=_by_requirement(found.unseen),
            new=_by_requirement(found.new),
        )
    )
