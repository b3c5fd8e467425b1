"""The catalogue, its trace, and that it refuses to contradict itself."""

import re
import tomllib
from pathlib import Path

import pytest

from conformance.matrix.rule import Rule
from conformance.matrix.rules import rules
from conformance.model.vocabulary import PROFILES
from conformance.requirements.catalogue import (
    CatalogueError,
    Requirement,
    Statement,
    catalogue,
    parse,
)
from conformance.requirements.page import render

ROOT = Path(__file__).parents[2]
CATALOGUE = catalogue()
RULES = {rule.id: rule for profile in PROFILES for rule in rules(profile)}


@pytest.mark.parametrize("statement", CATALOGUE.statements.values(), ids=lambda each: each.id)
def test_every_promise_leads_to_a_requirement_or_says_why_not(
    statement: Statement,
) -> None:
    assert bool(CATALOGUE.tracing(statement.id)) is statement.judged


@pytest.mark.parametrize("requirement", CATALOGUE.requirements, ids=lambda each: each.id)
def test_every_requirement_comes_from_a_statement_or_says_why_not(requirement: Requirement) -> None:
    assert bool(requirement.sources) is not bool(requirement.derived)


@pytest.mark.parametrize("requirement", CATALOGUE.requirements, ids=lambda each: each.id)
def test_a_requirement_holds_in_the_profiles_of_the_documents_behind_it(
    requirement: Requirement,
) -> None:
    documents = {document.id: document.profile for document in CATALOGUE.documents}
    promised = {documents[source.document] for source in requirement.sources}
    assert promised <= set(requirement.profiles)
    assert not promised or promised == set(requirement.profiles)


def test_each_document_describes_one_profile() -> None:
    assert sorted(document.profile for document in CATALOGUE.documents) == sorted(PROFILES)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda each: each.id)
def test_every_rule_of_the_oracle_cites_statements_that_exist(rule: Rule) -> None:
    source = rule.source
    cited = re.findall(r"\b(?:EN|ZH)-[A-Z]+-\d+", source)
    assert cited or source.startswith("kubevirt")
    assert all(CATALOGUE.statements[each].normative for each in cited)
    refusing = {source.statement for source in CATALOGUE.requirement("ADM-REFUSE").sources}
    assert set(cited) <= refusing


def test_divergences_of_refusals_name_rules_that_exist() -> None:
    named = {
        rule
        for requirement in CATALOGUE.requirements
        for divergence in requirement.known_divergences
        for rule in divergence.rules
    }
    assert named
    assert named <= {"decoding", *RULES}


@pytest.mark.parametrize(
    ("profile", "rules", "explained"),
    [
        ("v1", {"cores-positive"}, True),
        ("v1", {"cores-positive", "sockets-positive"}, True),
        ("v1", {"cores-positive", "memory-provided"}, False),
        ("v1", {"memory-provided"}, False),
        ("v1", {"cores-positive", "limits-cpu-countable"}, True),
        ("v1", {"decoding"}, True),
        ("v1", {"schema"}, False),
        ("v1alpha2", {"vcpus-given"}, False),
    ],
)
def test_a_divergence_explains_only_the_rules_that_it_names(
    profile: str, rules: set[str], explained: bool
) -> None:
    known = CATALOGUE.requirement("ADM-REFUSE").known_divergences
    assert any(each.concerns(profile, rules) for each in known) is explained


def test_the_page_is_what_the_generator_writes() -> None:
    page = (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8")
    assert page == render(CATALOGUE), (
        "write it again: python -m conformance.requirements > docs/requirements.md"
    )


def test_the_data_files_are_shipped() -> None:
    """The wheel takes packages whole, with whatever lies in them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "conformance" in wheel["packages"]
    assert not {"only-include", "exclude"} & wheel.keys()


def test_an_unknown_requirement_is_an_error() -> None:
    with pytest.raises(KeyError, match="no requirement is called NO-SUCH"):
        CATALOGUE.requirement("NO-SUCH")


STATEMENTS = """
- id: guide
  title: A guide
  language: English
  profile: v1
  sections:
    - title: A section
      statements:
        - {id: EN-1, text: Something holds.}
        - {id: EN-2, text: A remark., informative: It asks nothing.}
"""

REQUIREMENTS = """
- id: SOME-THING
  title: Something
  text: It MUST hold.
  level: MUST
  tier: contract
  moment: running
  sources: [EN-1]
  profiles: [v1]
  needs: []
  follows: []
  known_divergences: []
  see_also: []
"""


def test_a_small_catalogue_is_accepted() -> None:
    assert [each.id for each in parse(REQUIREMENTS, STATEMENTS).requirements] == ["SOME-THING"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sources: [EN-1]", "sources: [EN-9]", "requirement SOME-THING: sources cannot hold"),
        ("sources: [EN-1]", "sources: []", "needs either sources or a reason"),
        ("sources: [EN-1]", "sources: [EN-1]\n  derived: why", "needs either sources or a reason"),
        ("sources: [EN-1]", "sources: []\n  derived: why", "statement EN-1 leads to no"),
        ("sources: [EN-1]", "sources: [EN-1, EN-1]", "holds something twice"),
        ("sources: [EN-1]", "sources: [EN-1, EN-2]", "EN-2 is informative, yet required"),
        ("sources: [EN-1]", "sources: EN-1", "sources must be a list"),
        ("level: MUST", "level: MAY", "level is 'MAY', not one of MUST, SHOULD"),
        ("level: MUST", "level: SHOULD", "its text does not say SHOULD"),
        ("tier: contract", "tier: gold", "tier is 'gold'"),
        ("moment: running", "moment: later", "moment is 'later'"),
        ("profiles: [v1]", "profiles: []", "it holds in no profile"),
        ("profiles: [v1]", "profiles: [v2]", "profiles cannot hold 'v2'"),
        ("needs: []", "needs: [magic]", "needs cannot hold 'magic'"),
        ("follows: []", "follows: [NO-SUCH]", "SOME-THING cannot follow NO-SUCH"),
        ("follows: []", "follows: [SOME-THING]", "SOME-THING cannot follow SOME-THING"),
        ("see_also: []", "see_also: ['#1']", "see_also cannot hold '#1'"),
        ("see_also: []", "see_also: []\n  color: red", "unknown field color"),
        ("  title: Something\n", "", "title must be text"),
        ("- id: SOME-THING", "- id: some-thing", "an id is written in capitals"),
        ("known_divergences: []", "known_divergences: [{releases: all}]", "description must be"),
    ],
)
def test_a_wrong_entry_is_named_and_explained(old: str, new: str, message: str) -> None:
    assert old in REQUIREMENTS
    with pytest.raises(CatalogueError, match=re.escape(message)):
        parse(REQUIREMENTS.replace(old, new), STATEMENTS)


def test_an_id_is_used_once() -> None:
    with pytest.raises(CatalogueError, match="requirement SOME-THING is there twice"):
        parse(REQUIREMENTS + REQUIREMENTS, STATEMENTS)


def test_two_requirements_do_not_explain_each_other() -> None:
    one = REQUIREMENTS.replace("follows: []", "follows: [OTHER-THING]")
    other = REQUIREMENTS.replace("SOME-THING", "OTHER-THING")
    assert len(parse(one + other, STATEMENTS).requirements) == 2
    circle = other.replace("follows: []", "follows: [SOME-THING]")
    with pytest.raises(CatalogueError, match="these follow from each other: "):
        parse(one + circle, STATEMENTS)


def test_a_statement_in_another_language_needs_a_rendering() -> None:
    with pytest.raises(CatalogueError, match="english must be text"):
        parse(REQUIREMENTS, STATEMENTS.replace("English", "Chinese"))
