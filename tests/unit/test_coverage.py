"""What a verdict covers: kept, broken, open, known, not applicable, not asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from conformance.exits import Exit, Insist
from conformance.judging.conclude import Extent, conclude
from conformance.judging.coverage import Covered, cover, left_out
from conformance.judging.terms import Terms
from conformance.matrix.matrices import matrix
from conformance.matrix.scenarios import SCENARIOS
from conformance.model.setting import UNKNOWN
from reports.document import Conclusion, Finding, Outcome, Problem, Selection, Standing, Verdict
from reports.wording import headline

ALL = dict.fromkeys(
    (
        *("smt", "numa", "hugepages", "guest-console", "libvirt", "node-files"),
        *("disruption", "kubelet-control", "live-migration", "unlabelled-node"),
    ),
    (True, "it is there"),
)
TERMS = Terms("v1", ALL)
IDS = [requirement.id for requirement in TERMS.requirements()]
EXTENT = Extent(judgements=100, planned=10, seen=10)


def said(**other: Verdict | None) -> list[Finding]:
    """A pass of every requirement, but for those named (with _ for -); None is no finding."""
    verdicts = dict.fromkeys(IDS, Verdict.PASS)
    changed = {name.replace("_", "-"): verdict for name, verdict in other.items()}
    assert changed.keys() <= verdicts.keys()
    return [
        Finding(name, verdict, f"{name} is {verdict}")
        for name, verdict in {**verdicts, **changed}.items()
        if verdict is not None
    ]


def covered(
    findings: Iterable[Finding],
    *,
    terms: Terms = TERMS,
    matrix_name: str = "standard",
    selection: Selection = Selection(),  # noqa: B008 - frozen
) -> Mapping[str, Covered]:
    found = cover(terms, list(findings), selection, matrix_name)
    return {each.requirement.id: each for each in found}


def concluded(
    findings: Iterable[Finding],
    problems: tuple[Problem, ...] = (),
    extent: Extent = EXTENT,
    insist: Insist | None = None,
    terms: Terms = TERMS,
) -> Conclusion:
    return conclude(list(covered(findings, terms=terms).values()), problems, extent, insist)


def lacking(*names: str, unknown: bool = False) -> Terms:
    lost = dict.fromkeys(names, (None if unknown else False, "by construction"))
    return replace(TERMS, capabilities={**ALL, **lost})


def test_each_requirement_of_the_profile_has_one_standing() -> None:
    assert list(covered(said())) == IDS
    assert {each.standing for each in covered(said()).values()} == {Standing.KEPT}


@pytest.mark.parametrize(
    ("verdicts", "standing"),
    [
        ((Verdict.PASS, Verdict.FAIL, Verdict.ERROR), Standing.BROKEN),
        ((Verdict.PASS, Verdict.NOT_OBSERVED, Verdict.ERROR), Standing.ERROR),
        ((Verdict.PASS, Verdict.NOT_OBSERVED), Standing.NOT_OBSERVED),
        ((Verdict.NOT_OBSERVED, Verdict.KNOWN_DIVERGENCE), Standing.NOT_OBSERVED),
        # Kept in thirty cases and known not to be in one: that is not kept.
        ((Verdict.PASS,) * 30 + (Verdict.KNOWN_DIVERGENCE,), Standing.KNOWN_DIVERGENCE),
        ((Verdict.NOT_APPLICABLE, Verdict.PASS), Standing.KEPT),
        ((Verdict.NOT_APPLICABLE,), Standing.NOT_APPLICABLE),
    ],
)
def test_of_findings_that_differ_the_worst_counts(
    verdicts: tuple[Verdict, ...], standing: Standing
) -> None:
    findings = [Finding("PIN-XML", verdict, "said") for verdict in verdicts]
    assert covered([*said(PIN_XML=None), *findings])["PIN-XML"].standing is standing


def test_what_does_not_apply_says_why() -> None:
    findings = [Finding("SMT-ALIGNED", Verdict.NOT_APPLICABLE, f"why {n}") for n in (1, 1, 2)]
    found = covered([*said(SMT_ALIGNED=None), *findings])["SMT-ALIGNED"]
    assert (found.standing, found.why) == (
        Standing.NOT_APPLICABLE,
        "why 1; and 1 other reasons",
    )


def test_what_was_not_asked_and_is_known_to_be_lacking_does_not_apply() -> None:
    found = covered(said(NUMA_MAPPED=None), terms=lacking("numa"))["NUMA-MAPPED"]
    assert (found.standing, found.why) == (
        Standing.NOT_APPLICABLE,
        "the cluster lacks numa: by construction",
    )


def test_what_may_be_lacking_applies() -> None:
    terms = lacking("numa", unknown=True)
    assert covered(said(NUMA_MAPPED=None), terms=terms)["NUMA-MAPPED"].standing is (
        Standing.NOT_ASKED
    )


def test_what_nobody_can_look_at_applies() -> None:
    found = covered(said(PIN_XML=None), terms=lacking("libvirt"))["PIN-XML"]
    assert found.standing is Standing.NOT_ASKED


def test_what_the_release_cannot_have_does_not_apply() -> None:
    # NUMA mapping had a gate until 1.4.
    old = replace(TERMS, setting=replace(UNKNOWN, kubevirt="v1.2.0", gates=frozenset()))
    found = covered(said(NUMA_MAPPED=None), terms=old)["NUMA-MAPPED"]
    assert found.standing is Standing.NOT_APPLICABLE
    assert "NUMA" in found.why
    new = replace(TERMS, setting=replace(UNKNOWN, kubevirt="v1.9.0", gates=frozenset()))
    found = covered(said(NUMA_MAPPED=None), terms=new)["NUMA-MAPPED"]
    assert found.standing is Standing.NOT_ASKED


@pytest.mark.parametrize("verdict", [None, Verdict.NOT_APPLICABLE])
def test_what_nobody_allowed_was_not_asked(verdict: Verdict | None) -> None:
    found = covered(said(LIFE_PENDING=verdict), terms=lacking("disruption"))["LIFE-PENDING"]
    assert (found.standing, found.why) == (
        Standing.NOT_ASKED,
        "the cluster lacks disruption: by construction",
    )


def test_what_no_leave_would_make_possible_does_not_apply() -> None:
    terms = lacking("disruption", "unlabelled-node")
    found = covered(said(NODE_ONLY=Verdict.NOT_APPLICABLE), terms=terms)["NODE-ONLY"]
    assert found.standing is Standing.NOT_APPLICABLE


def test_a_requirement_with_two_scenarios_needs_one() -> None:
    terms = lacking("kubelet-control")
    found = covered(said(LIFE_KUBELET=None, NODE_UNLABEL=None), terms=terms)
    assert found["LIFE-KUBELET"].standing is Standing.NOT_APPLICABLE
    assert found["NODE-UNLABEL"].standing is Standing.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("matrix_name", "selection", "requirement", "why"),
    [
        ("smoke", Selection("isolate"), "QOS-POD", "left out by -k 'isolate'"),
        ("smoke", Selection("isolate"), "LIFE-RESTART", "left out by -k 'isolate'"),
        (
            "smoke",
            Selection(),
            "NODE-GATE",
            "smoke leaves out the scenario gate-off, for its time: labels follow ",
        ),
        ("pods", Selection(), "PIN-XML", "the matrix pods does not have a case about it"),
        ("pods", Selection(), "NODE-GATE", "the matrix pods does not have the scenario gate-off"),
        ("mine.yaml", Selection(), "NODE-GATE", "it takes the scenario gate-off"),
        ("mine.yaml", Selection(), "EMU-ISOLATED", "no case is about it"),
        ("smoke", Selection(tests=("a.py::b",)), "QOS-POD", "only a.py::b ran"),
        ("smoke", Selection(), "QOS-POD", "not selected"),
    ],
)
def test_what_was_not_asked_says_by_what(
    matrix_name: str, selection: Selection, requirement: str, why: str
) -> None:
    found = covered((), matrix_name=matrix_name, selection=selection)[requirement]
    assert found.standing is Standing.NOT_ASKED
    assert found.why.startswith(why)


def test_all_kept_is_conformant_and_nothing_else() -> None:
    found = concluded(said())
    assert (found.outcome, found.exit_code) == (Outcome.CONFORMANT, Exit.CONFORMANT)
    assert headline(found) == "Conformant"
    assert (found.kept, found.known, found.applying) == (len(IDS), 0, len(IDS))


def test_what_does_not_apply_is_not_missing() -> None:
    found = concluded(said(SMT_ALIGNED=Verdict.NOT_APPLICABLE))
    assert found.outcome is Outcome.CONFORMANT
    assert found.applying == len(IDS) - 1


@pytest.mark.parametrize(
    ("change", "extent", "named"),
    [
        ({"NODE_GATE": None, "LIFE_CHURN": None}, EXTENT, "NODE-GATE, LIFE-CHURN"),
        ({"PIN_LIVE": Verdict.KNOWN_DIVERGENCE}, EXTENT, "PIN-LIVE"),
        ({}, replace(EXTENT, partial=True), "Only a part of the matrix"),
    ],
)
def test_less_is_conformant_as_far_as_asked(
    change: dict[str, Verdict | None], extent: Extent, named: str
) -> None:
    found = concluded(said(**change), extent=extent)
    assert (found.outcome, found.exit_code) == (Outcome.CONFORMANT_AS_ASKED, Exit.CONFORMANT)
    assert found.kept == len(IDS) - len(change)
    assert found.applying == len(IDS)
    assert named in found.reason
    assert "every" not in found.reason.lower()
    assert headline(found).startswith(
        f"Conformant as far as asked: {found.kept} of {found.applying} requirements"
    )


def test_known_divergences_are_counted_beside() -> None:
    found = concluded(said(PIN_LIVE=Verdict.KNOWN_DIVERGENCE, NODE_GATE=None))
    assert headline(found).endswith(
        f"{len(IDS) - 2} of {len(IDS)} requirements, 1 known not to be kept"
    )


@pytest.mark.parametrize(
    ("change", "insist", "code"),
    [
        ({}, Insist.KEPT, Exit.CONFORMANT),
        ({"NODE_GATE": None}, Insist.ASKED, Exit.INCONCLUSIVE),
        ({"NODE_GATE": None}, Insist.KEPT, Exit.INCONCLUSIVE),
        ({"PIN_LIVE": Verdict.KNOWN_DIVERGENCE}, Insist.ASKED, Exit.CONFORMANT),
        ({"PIN_LIVE": Verdict.KNOWN_DIVERGENCE}, Insist.KEPT, Exit.INCONCLUSIVE),
        ({"PIN_LIVE": Verdict.FAIL, "NODE_GATE": None}, Insist.KEPT, Exit.NOT_CONFORMANT),
    ],
)
def test_a_gate_may_insist_on_the_whole(
    change: dict[str, Verdict | None], insist: Insist, code: Exit
) -> None:
    assert concluded(said(**change), insist=insist).exit_code == code


def test_a_part_is_not_the_whole() -> None:
    part = replace(EXTENT, partial=True)
    assert concluded(said(), extent=part, insist=Insist.ASKED).exit_code == Exit.INCONCLUSIVE


@pytest.mark.parametrize("verdict", [Verdict.ERROR, Verdict.NOT_OBSERVED])
def test_what_is_open_is_inconclusive(verdict: Verdict) -> None:
    found = concluded(said(PIN_XML=verdict))
    assert (found.outcome, found.exit_code) == (Outcome.INCONCLUSIVE, Exit.INCONCLUSIVE)
    assert "PIN-XML" in found.reason


def test_problems_are_inconclusive_and_no_failure() -> None:
    problems = (Problem("bringing the cluster up", "no room. " + "x" * 5_000), Problem("b", "c"))
    found = concluded(said(), problems)
    assert found.exit_code == Exit.INCONCLUSIVE
    assert "Bringing the cluster up failed: no room" in found.reason
    assert "and 1 more problem." in found.reason
    assert len(found.reason) < 1_000


def test_a_failure_wins_and_the_rest_is_said() -> None:
    findings = said(PIN_XML=Verdict.FAIL, QOS_POD=Verdict.ERROR, CPU_POOL=Verdict.NOT_OBSERVED)
    found = concluded(findings, (Problem("cleaning up", "it stays"),))
    assert found.exit_code == Exit.NOT_CONFORMANT
    assert found.reason.startswith("Mandatory requirements were broken: PIN-XML.")
    for part in ("QOS-POD", "CPU-POOL", "cleaning up failed: it stays"):
        assert part in found.reason


def test_a_cause_is_named_before_what_follows_from_it() -> None:
    broken = said(PIN_LIVE=Verdict.FAIL, IOT_ISOLATED=Verdict.FAIL, QOS_POD=Verdict.FAIL)
    assert "broken: QOS-POD, IOT-ISOLATED, PIN-LIVE." in concluded(broken).reason


@pytest.mark.parametrize("verdict", [None, Verdict.NOT_APPLICABLE, Verdict.KNOWN_DIVERGENCE])
def test_nothing_kept_is_inconclusive(verdict: Verdict | None) -> None:
    findings = [] if verdict is None else [Finding(each, verdict, "said") for each in IDS]
    assert concluded(findings).exit_code == Exit.INCONCLUSIVE


def test_an_interrupted_run_says_how_far_it_came_and_what_was_broken() -> None:
    extent = replace(EXTENT, seen=3, interrupted=True)
    broken = concluded(said(PIN_XML=Verdict.FAIL, QOS_POD=Verdict.NOT_OBSERVED), extent=extent)
    assert (broken.outcome, broken.exit_code) == (Outcome.INTERRUPTED, Exit.INTERRUPTED)
    assert "3 of 10 cases" in broken.reason
    assert "Broken so far: PIN-XML" in broken.reason
    good = concluded(said(QOS_POD=Verdict.NOT_OBSERVED), extent=extent)
    assert "Nothing was broken so far" in good.reason
    assert f"Kept so far: {len(IDS) - 1} of {len(IDS)}" in good.reason


@pytest.mark.parametrize("profile", ["v1", "v1alpha2"])
def test_smoke_says_what_it_leaves_out_and_why(profile: str) -> None:
    missing = dict(left_out("smoke", profile, matrix("smoke", profile)))
    for requirement, why in missing.items():
        assert requirement.moment == "scenario"
        assert why.startswith("smoke leaves out the scenario ")
    ids = {requirement.id for requirement in missing}
    assert {"NODE-GATE", "LIFE-CHURN"} <= ids
    assert not {"LIFE-RESTART", "LIFE-KUBELET", "QOS-POD"} & ids
    assert not dict(left_out("standard", profile, matrix("standard", profile)))


def test_whatever_smoke_leaves_out_says_why() -> None:
    assert [each.id for each in SCENARIOS.values() if not each.left_out] == [
        "container-restart",
        "kubelet-restart",
    ]


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict.FAIL, "Nothing mandatory that was asked was broken or left open."),
        (Verdict.NOT_OBSERVED, "Nothing that was asked was broken or left open."),
    ],
)
def test_what_is_not_mandatory_decides_nothing_and_is_told(verdict: Verdict, words: str) -> None:
    terms = replace(TERMS, profile="current")
    ids = [each.id for each in terms.requirements()]
    findings = [
        Finding(each, verdict if each == "EMU-PIT" else Verdict.PASS, "it is so")
        for each in ids
        if each != "NODE-GATE"
    ]
    found = concluded(findings, terms=terms)
    assert found.exit_code == Exit.CONFORMANT
    assert words in found.reason
    assert ("Broken, and not mandatory: EMU-PIT." in found.reason) is (verdict is Verdict.FAIL)
