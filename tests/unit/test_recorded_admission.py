"""What a real virt-api answered: the reference stack says the same, the oracle expects it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from conformance.matrix.oracle import expect
from conformance.model.finding import Verdict
from conformance.model.setting import Setting
from tests.unit.admitting import GATES, Answer, api, judge

Json = dict[str, Any]

RECORDED = Path(__file__).parents[1] / "recorded/admission-answers.json"
ANSWERS: list[Json] = json.loads(RECORDED.read_text())["answers"]
KEPT_SO_FAR = 300
"""Characters of a message that were kept of the answers of 1.9."""


def manifest(recorded: Json) -> Json:
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": recorded["id"]},
        "spec": recorded["spec"],
    }


def essence(status: Json, release: str) -> tuple[object, ...]:
    """What two answers must have in common.

    Not the order in which the CRD's schema goes through its maps, nor the name of the Go type
    that could not be decoded; of 1.9 the causes' reasons were not kept.
    """
    message = re.sub(r"Go struct field \w+\.(spec\.)?", "", status["message"])
    causes = (status.get("details") or {}).get("causes") or status.get("causes") or []
    by_crd = any(cause.get("field") == "<nil>" for cause in causes)
    told = [
        (cause.get("field"), cause["message"])
        + ((cause.get("reason"),) if release == "v1.8.4" else ())
        for cause in causes
    ]
    return (
        status["code"],
        status.get("reason"),
        sorted(message) if by_crd else message[:KEPT_SO_FAR],
        sorted(told) if by_crd else told,
    )


def test_there_are_as_many_as_were_recorded() -> None:
    assert len(ANSWERS) == 144
    assert sum("refused" in recorded for recorded in ANSWERS) == 122


@pytest.mark.parametrize("recorded", ANSWERS, ids=lambda recorded: recorded["id"])
def test_the_reference_stack_answers_as_kubevirt_does(recorded: Json) -> None:
    answer = api().answer(manifest(recorded))
    if "stored" in recorded:
        assert answer.stored is not None, answer.status
        domain = answer.stored["spec"]["domain"]
        stored = {"cpu": domain["cpu"], "resources": domain.get("resources", {})}
        assert stored == recorded["stored"]
        return
    assert answer.status is not None, answer.stored
    release = recorded["release"]
    assert essence(dict(answer.status), release) == essence(recorded["refused"], release)


@pytest.mark.parametrize("recorded", ANSWERS, ids=lambda recorded: recorded["id"])
def test_the_oracle_expects_what_kubevirt_answers(recorded: Json) -> None:
    """Nothing fails; what is known to be otherwise is as many as were looked into."""
    setting = Setting(kubevirt=recorded["release"], gates=frozenset(GATES))
    expectation = expect(manifest(recorded), "v1", setting)
    assert not expectation.doubts
    finding = judge(answer_of(recorded), expectation)
    assert finding.verdict in (Verdict.PASS, Verdict.KNOWN_DIVERGENCE), finding.message
    known = finding.verdict is Verdict.KNOWN_DIVERGENCE
    unread = "refused" in recorded and recorded["refused"]["code"] == 400
    hole = "stored" in recorded and not expectation.admitted
    assert known == (unread or hole), finding.message


def answer_of(recorded: Json) -> Answer:
    if "stored" in recorded:
        return Answer({"spec": recorded["spec"]}, None)
    refused = recorded["refused"]
    status = {**refused, "kind": "Status", "details": {"causes": refused["causes"]}}
    return Answer(None, status)


@pytest.mark.parametrize("recorded", ANSWERS, ids=lambda recorded: recorded["id"])
def test_twin_the_opposite_answer_is_not_kept(recorded: Json) -> None:
    """An inconsistent VMI is admitted, a consistent one refused for a field of the promise."""
    setting = Setting(kubevirt=recorded["release"], gates=frozenset(GATES))
    expectation = expect(manifest(recorded), "v1", setting)
    if expectation.admitted:
        message = (
            'admission webhook "virtualmachineinstances-create-validator.kubevirt.io" denied the '
            "request: too many"
        )
        causes = [{"field": "spec.domain.cpu.cores", "message": "too many"}]
        opposite = Answer(
            None, {"kind": "Status", "code": 422, "message": message, "details": {"causes": causes}}
        )
    else:
        opposite = Answer({"spec": recorded["spec"]}, None)
    verdict = judge(opposite, expectation).verdict
    hole = "stored" in recorded and not expectation.admitted
    assert verdict is (Verdict.KNOWN_DIVERGENCE if hole else Verdict.FAIL)
