"""Loads the catalogue of requirements and the statements that they come from.

Longer than 400 lines: most of it checks a file that people write, entry by entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from graphlib import CycleError, TopologicalSorter
from importlib.resources import files
from typing import TypeVar

import yaml

from conformance.model.release import Release
from conformance.model.vocabulary import (
    DELETED,
    INCLUDED,
    OBSERVED_BY,
    PROFILES,
    REFUSED,
    RUNNING,
    SCENARIO,
    holds,
)

LEVELS = ("MUST", "SHOULD")
TIERS = ("contract", "implementation")
MOMENTS = (RUNNING, REFUSED, DELETED, SCENARIO)

SOFTWARE = ("kubevirt", "kubelet")
"""Whose releases a divergence may be bound to."""

_ID = re.compile(r"[A-Z]+(-[A-Z0-9]+)+")
_REFERENCE = re.compile(r"(kubevirt|kubevirtci|kubernetes|kubevirt/enhancements)#[0-9]+")


class CatalogueError(ValueError):
    """The catalogue contradicts itself; the message names the entry and what is wrong."""


@dataclass(frozen=True)
class Statement:
    """One statement of a document, in our words.

    Attributes:
        english: a rendering, where the document is not in English; else the text itself.
        informative: why it requires nothing; None when it is normative.
        unjudged: why no requirement comes of it although it is normative; None when one does.
    """

    id: str
    document: str
    section: str
    text: str
    english: str
    informative: str | None
    unjudged: str | None = None

    @property
    def normative(self) -> bool:
        """Whether it requires something."""
        return self.informative is None

    @property
    def judged(self) -> bool:
        """Whether a requirement must come of it."""
        return self.normative and self.unjudged is None


@dataclass(frozen=True)
class Document:
    """One document whose promise is judged.

    Attributes:
        profile: the one that it describes.
    """

    id: str
    title: str
    language: str
    profile: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Source:
    """Where a requirement comes from.

    Attributes:
        statement: id of the statement.
    """

    document: str
    section: str
    statement: str

    def __str__(self) -> str:
        return f"{self.document}, {self.section} ({self.statement})"


@dataclass(frozen=True)
class KnownDivergence:
    """Where released software is known to break a requirement.

    Attributes:
        releases: which software, in words.
        description: what it does instead.
        reference: issue or source file.
        profile: the only profile concerned, with those that include it; None for every one.
        rules: the only rules of refusal concerned; empty when it is about no refusal.
        of: whose releases `since` and `until` are: ``kubevirt`` or ``kubelet``.
        since: the first release that has it; None for all before `until`.
        until: the first release that must not have it any more; None while it is there.
    """

    releases: str
    description: str
    reference: str
    profile: str | None = None
    rules: tuple[str, ...] = ()
    of: str = "kubevirt"
    since: Release | None = None
    until: Release | None = None

    def has(self, release: Release | None) -> bool | None:
        """Whether a release is known to have it; None where that depends on an unknown one."""
        if self.since is None and self.until is None:
            return True
        if release is None:
            return None
        began = self.since is None or self.since <= release
        over = self.until is not None and self.until <= release
        if release.onwards and not over and (not began or self.until is not None):
            return None
        return began and not over

    def concerns(self, profile: str, rules: Collection[str]) -> bool:
        """Whether it explains a case of a profile that breaks these rules of refusal.

        It does not when the case breaks a rule beside those that it is about.
        """
        concerned = self.profile in (None, *INCLUDED[profile])
        return concerned and (not self.rules or set(rules) <= {*self.rules})


@dataclass(frozen=True)
class Requirement:
    """One requirement.

    Attributes:
        level: ``MUST`` or ``SHOULD``.
        tier: ``contract``, which any implementation must show, or ``implementation``.
        moment: when it is judged: on a ``running``, ``refused`` or ``deleted`` VMI, or
            in a ``scenario``.
        sources: the statements behind it.
        derived: why it follows from Kubernetes, where there is no statement; else None.
        profiles: in which it holds; a profile that includes one of them has it as well.
        needs: capabilities that a cluster must have to show it.
        follows: ids of requirements that, broken in the same case, usually explain this one.
        see_also: historical bugs that it catches, such as ``kubevirt#4687``.
    """

    id: str
    title: str
    text: str
    level: str
    tier: str
    moment: str
    sources: tuple[Source, ...]
    derived: str | None
    profiles: tuple[str, ...]
    needs: tuple[str, ...]
    follows: tuple[str, ...]
    known_divergences: tuple[KnownDivergence, ...]
    see_also: tuple[str, ...]

    @property
    def mandatory(self) -> bool:
        """Whether a run fails when it is not kept."""
        return self.level == "MUST"


@dataclass(frozen=True)
class Catalogue:
    """Every requirement and every document, in the order of the files."""

    requirements: tuple[Requirement, ...]
    documents: tuple[Document, ...]

    @cached_property
    def by_id(self) -> Mapping[str, Requirement]:
        """The requirements by id."""
        return {requirement.id: requirement for requirement in self.requirements}

    @cached_property
    def statements(self) -> Mapping[str, Statement]:
        """The statements of all documents by id."""
        return {each.id: each for document in self.documents for each in document.statements}

    def requirement(self, id: str) -> Requirement:
        """The requirement of that id. Raises KeyError with a sentence for an unknown one."""
        if id not in self.by_id:
            raise KeyError(f"no requirement is called {id}; `conform requirements` lists them")
        return self.by_id[id]

    def of_profile(self, profile: str) -> tuple[Requirement, ...]:
        """The requirements that hold in a profile, or in one that it includes."""
        return tuple(each for each in self.requirements if holds(profile, each.profiles))

    def tracing(self, statement: str) -> tuple[Requirement, ...]:
        """The requirements that come from a statement."""
        return tuple(
            each
            for each in self.requirements
            if any(source.statement == statement for source in each.sources)
        )


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where PyYAML was built with it: ten times as fast."""
_Named = TypeVar("_Named", Statement, Document, Requirement)


@cache
def catalogue() -> Catalogue:
    """The catalogue that comes with this package.

    Raises:
        CatalogueError: an entry is wrong.
    """
    here = files("conformance.requirements")
    return parse(
        here.joinpath("catalogue.yaml").read_text(encoding="utf-8"),
        here.joinpath("statements.yaml").read_text(encoding="utf-8"),
    )


def parse(requirements: str, statements: str) -> Catalogue:
    """Builds a catalogue from the text of its two files and checks every reference in it.

    Raises:
        CatalogueError: an entry has a missing, unknown or wrong field; an id is used twice;
            a requirement cites a statement that does not exist, or none without saying why;
            a normative statement leads to no requirement and does not say why it is not judged.
    """
    documents = tuple(_document(_Entry("document", raw)) for raw in _list(statements))
    known = _by_id("statement", (each for document in documents for each in document.statements))
    required = tuple(_requirement(_Entry("requirement", r), known) for r in _list(requirements))
    _by_id("document", documents)
    ids = _by_id("requirement", required)
    for each in required:
        if unknown := [name for name in each.follows if name not in ids or name == each.id]:
            raise CatalogueError(f"requirement {each.id} cannot follow {', '.join(unknown)}")
    _refuse_circles({each.id: each.follows for each in required})
    result = Catalogue(required, documents)
    for statement in known.values():
        traced = bool(result.tracing(statement.id))
        if statement.judged and not traced:
            raise CatalogueError(f"statement {statement.id} leads to no requirement")
        if traced and not statement.judged:
            why = "not judged" if statement.normative else "informative"
            raise CatalogueError(f"statement {statement.id} is {why}, yet required")
    return result


def _refuse_circles(follows: Mapping[str, tuple[str, ...]]) -> None:
    try:
        TopologicalSorter(follows).prepare()
    except CycleError as error:
        raise CatalogueError(f"these follow from each other: {', '.join(error.args[1])}") from error


def _list(text: str) -> list[object]:
    parsed = yaml.load(text, _LOADER)
    if not isinstance(parsed, list):
        raise CatalogueError("the file holds no list")
    return parsed


def _by_id(kind: str, items: Iterable[_Named]) -> dict[str, _Named]:
    found: dict[str, _Named] = {}
    for item in items:
        if item.id in found:
            raise CatalogueError(f"{kind} {item.id} is there twice")
        found[item.id] = item
    return found


class _Entry:
    """One mapping of a file; takes its fields one by one and complains about the rest."""

    def __init__(self, kind: str, raw: object) -> None:
        if not isinstance(raw, dict):
            raise CatalogueError(f"a {kind} is no mapping: {raw!r}")
        self._rest = dict(raw)
        self.name = f"{kind} {raw.get('id', raw.get('title', '(without id)'))}"

    def wrong(self, what: str) -> CatalogueError:
        return CatalogueError(f"{self.name}: {what}")

    def text(self, field: str) -> str:
        value = self._rest.pop(field, None)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(f"{field} must be text, not {value!r}")
        return value

    def optional_text(self, field: str) -> str | None:
        return self.text(field) if self.has(field) else None

    def has(self, field: str) -> bool:
        return field in self._rest

    def id(self) -> str:
        value = self.text("id")
        if not _ID.fullmatch(value):
            raise self.wrong("an id is written in capitals and dashes, such as CPU-COUNT")
        return value

    def one_of(self, field: str, allowed: tuple[str, ...]) -> str:
        value = self.text(field)
        if value not in allowed:
            raise self.wrong(f"{field} is {value!r}, not one of {', '.join(allowed)}")
        return value

    def release(self, field: str) -> Release | None:
        text = self.optional_text(field)
        release = None if text is None else Release.parse(text)
        if text is not None and release is None:
            raise self.wrong(f"{field} is {text!r}, not a release such as v1.8")
        return release

    def items(self, field: str) -> list[object]:
        value = self._rest.pop(field, None)
        if not isinstance(value, list):
            raise self.wrong(f"{field} must be a list, not {value!r}")
        return value

    def texts(self, field: str, allowed: Callable[[str], object]) -> tuple[str, ...]:
        values = self.items(field)
        for value in values:
            if not isinstance(value, str) or not allowed(value):
                raise self.wrong(f"{field} cannot hold {value!r}")
        texts = tuple(str(value) for value in values)
        if len(set(texts)) != len(texts):
            raise self.wrong(f"{field} holds something twice")
        return texts

    def done(self) -> None:
        if self._rest:
            raise self.wrong(f"unknown field {', '.join(sorted(map(str, self._rest)))}")


def _document(entry: _Entry) -> Document:
    name = entry.text("id")
    foreign = (language := entry.text("language")) != "English"
    document = Document(
        id=name,
        title=entry.text("title"),
        language=language,
        profile=entry.one_of("profile", PROFILES),
        statements=tuple(
            statement
            for section in entry.items("sections")
            for statement in _section(_Entry("section", section), name, foreign=foreign)
        ),
    )
    entry.done()
    return document


def _section(entry: _Entry, document: str, *, foreign: bool) -> list[Statement]:
    title = entry.text("title")
    if foreign:
        title = f"{title} / {entry.text('english')}"
    statements = entry.items("statements")
    entry.done()
    return [
        _statement(_Entry("statement", s), document, title, foreign=foreign) for s in statements
    ]


def _statement(entry: _Entry, document: str, section: str, *, foreign: bool) -> Statement:
    text = entry.text("text")
    statement = Statement(
        id=entry.id(),
        document=document,
        section=section,
        text=text,
        english=entry.text("english") if foreign else text,
        informative=entry.optional_text("informative"),
        unjudged=entry.optional_text("unjudged"),
    )
    if statement.informative and statement.unjudged:
        raise entry.wrong("what is informative cannot be unjudged as well")
    entry.done()
    return statement


def _requirement(entry: _Entry, statements: Mapping[str, Statement]) -> Requirement:
    requirement = Requirement(
        id=entry.id(),
        title=entry.text("title"),
        text=entry.text("text"),
        level=entry.one_of("level", LEVELS),
        tier=entry.one_of("tier", TIERS),
        moment=entry.one_of("moment", MOMENTS),
        sources=tuple(
            Source(statements[each].document, statements[each].section, each)
            for each in entry.texts("sources", statements.__contains__)
        ),
        derived=entry.optional_text("derived"),
        profiles=entry.texts("profiles", PROFILES.__contains__),
        needs=entry.texts("needs", OBSERVED_BY.__contains__),
        follows=entry.texts("follows", _ID.fullmatch),
        known_divergences=tuple(
            _divergence(_Entry(f"divergence of {entry.name}", raw))
            for raw in entry.items("known_divergences")
        ),
        see_also=entry.texts("see_also", _REFERENCE.fullmatch),
    )
    entry.done()
    if requirement.level not in requirement.text:
        raise entry.wrong(f"its text does not say {requirement.level}")
    if not requirement.profiles:
        raise entry.wrong("it holds in no profile")
    if bool(requirement.sources) == bool(requirement.derived):
        raise entry.wrong("it needs either sources or a reason in `derived`")
    return requirement


def _divergence(entry: _Entry) -> KnownDivergence:
    divergence = KnownDivergence(
        releases=entry.text("releases"),
        description=entry.text("description"),
        reference=entry.text("reference"),
        profile=entry.optional_text("profile"),
        rules=entry.texts("rules", bool) if entry.has("rules") else (),
        of=entry.one_of("of", SOFTWARE) if entry.has("of") else SOFTWARE[0],
        since=entry.release("since"),
        until=entry.release("until"),
    )
    entry.done()
    if divergence.profile not in (None, *PROFILES):
        raise entry.wrong(f"profile is {divergence.profile!r}, not one of {', '.join(PROFILES)}")
    return divergence
