"""What went wrong, by cause: findings that say the same together, what follows below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from reports.document import WORST_FIRST, Document, Finding, Requirement, Verdict
from reports.pattern import pattern
from reports.wording import broken, place


@dataclass(frozen=True)
class Cause:
    """Findings that say the same, with what is usually a consequence of it.

    Attributes:
        finding: the first of them.
        findings: all of them.
        consequences: in the same cases.
    """

    finding: Finding
    findings: tuple[Finding, ...]
    consequences: tuple[Cause, ...] = ()

    @property
    def requirements(self) -> tuple[str, ...]:
        """Their ids; only what was not observed or went wrong has several."""
        return tuple(dict.fromkeys(each.requirement for each in self.findings))

    @property
    def places(self) -> tuple[str, ...]:
        """See `reports.wording.place`."""
        return tuple(dict.fromkeys(map(place, self.findings)))

    @property
    def cases(self) -> frozenset[str]:
        """Ids of their cases."""
        return frozenset(each.case or each.scenario for each in self.findings)

    @property
    def whole(self) -> tuple[Finding, ...]:
        """Its findings and those of its consequences."""
        return (*self.findings, *(f for each in self.consequences for f in each.findings))


def causes(document: Document) -> list[Cause]:
    """Everything that was broken, went wrong or was not observed, the worst first."""
    return grouped(broken(document), document)


def grouped(findings: Iterable[Finding], document: Document) -> list[Cause]:
    """Some findings of a document by cause, the worst first."""
    requirements = {each.id: each for each in document.requirements}
    return _nested(alike(findings, names_in(document)), requirements)


def alike(findings: Iterable[Finding], names: Mapping[str, tuple[str, ...]]) -> list[Cause]:
    """The findings in their order, those that say the same of other cases put together.

    Args:
        findings: of a document.
        names: what is named in each case, by its id: the same words with other names are the
            same.
    """
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for each in findings:
        lost = each.verdict in (Verdict.NOT_OBSERVED, Verdict.ERROR)
        words = (each.objections or (each.message,))[0]
        case = each.case or each.scenario
        kind = pattern(words, each.node, case, *names.get(case, ()))
        groups.setdefault((each.verdict, "" if lost else each.requirement, kind), []).append(each)
    return [Cause(group[0], tuple(group)) for group in groups.values()]


def names_in(document: Document) -> Mapping[str, tuple[str, ...]]:
    """What is named in each case, by its id."""
    return {
        case.id: tuple(
            dict.fromkeys(n for t in case.targets for n in (t.vmi, t.pod, t.namespace) if n)
        )
        for case in document.cases
    }


def _nested(groups: Sequence[Cause], requirements: Mapping[str, Requirement]) -> list[Cause]:
    """Each group below what explains it, where one is in all of its cases."""
    cases = [each.cases for each in groups]
    places: dict[tuple[str, str], list[int]] = {}
    for number, group in enumerate(groups):
        requires = group.requirements
        for case in cases[number]:
            for requirement in requires:
                places.setdefault((case, requirement), []).append(number)

    def parent(number: int) -> int | None:
        # What is in all of its cases is in any one of them: a report may have thousands of groups.
        own, case = groups[number], min(cases[number])
        above = [requirements[name] for name in own.requirements if name in requirements]
        unseen = {name for each in above for name in each.unseen_without if _is_lost(own)}
        names = (*sorted(unseen), *(name for each in above for name in each.follows))
        for name in dict.fromkeys(names):
            for other in places.get((case, name), ()):
                explains = name in unseen or groups[other].finding.verdict is Verdict.FAIL
                if explains and other != number and cases[number] <= cases[other]:
                    return other
        return None

    parents = {number: parent(number) for number in range(len(groups))}
    roots = {number: _root(number, parents) for number in parents}
    below: dict[int, list[Cause]] = {}
    for number, root in roots.items():
        if number != root:
            below.setdefault(root, []).append(groups[number])
    found = [
        replace(groups[root], consequences=tuple(below.get(root, ())))
        for root in dict.fromkeys(roots.values())
    ]
    return sorted(found, key=lambda each: (_rank(each), -len(each.whole)))


def _is_lost(cause: Cause) -> bool:
    return cause.finding.verdict is Verdict.NOT_OBSERVED


def _rank(cause: Cause) -> int:
    return WORST_FIRST.index(cause.finding.verdict)


def _root(number: int, parents: Mapping[int, int | None]) -> int:
    """The first cause; of a circle, which somebody else's document may have, one of its own."""
    path = [number]
    while (above := parents[path[-1]]) is not None:
        if above in path:
            return min(path[path.index(above) :])
        path.append(above)
    return path[-1]
