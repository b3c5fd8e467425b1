import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

import pytest
from jsonschema import Draft202012Validator

from reports import document
from reports.document import (
    Document,
    DocumentError,
    Finding,
    OwnerKind,
    Standing,
    Verdict,
    count,
    worst,
)
from reports.form import dump, load, schema

Example = Callable[[str], Document]


def test_what_was_dumped_is_loaded(any_document: Document) -> None:
    assert load(dump(any_document)) == any_document


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


def dataclasses_of(kind: type[Any]) -> set[type[Any]]:
    found = {kind}
    for hint in get_type_hints(kind).values():
        for part in (hint, *get_args(hint)):
            if is_dataclass(part) and isinstance(part, type):
                found |= dataclasses_of(part)
    return found


def test_the_schema_has_the_fields_of_the_document() -> None:
    names = {"Document": schema(), "CpuMap": schema()["$defs"]["map"]}
    kinds = dataclasses_of(Document)
    assert len(kinds) > 10
    for kind in kinds:
        described: Mapping[str, Any] = names.get(
            kind.__name__, schema()["$defs"].get(kind.__name__.lower())
        )
        assert set(described["properties"]) == {field.name for field in fields(kind)}, kind
        assert set(described["required"]) == set(described["properties"]), kind


def test_the_schema_has_the_verdicts_and_owners_of_the_document() -> None:
    defs = schema()["$defs"]
    assert set(defs["verdict"]["enum"]) == set(Verdict)
    assert set(defs["counts"]["properties"]) == set(Verdict)
    assert set(defs["owner"]["properties"]["kind"]["enum"]) == set(OwnerKind)
    assert schema()["properties"]["version"]["const"] == document.VERSION


def changed(text: str, change: Callable[[dict[str, Any]], None]) -> str:
    data = json.loads(text)
    change(data)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda d: d["findings"][3].update(verdict="passed"), r"\$\.findings\[3\]\.verdict"),
        (lambda d: d["run"].pop("id"), r"\$\.run.*'id' is a required property"),
        (lambda d: d.update(extra=1), "extra"),
        (lambda d: d.update(nodes={}), r"\$\.nodes"),
        (lambda d: d.pop("version"), "version"),
        (lambda d: d["nodes"][0]["cpus"][0].update(id=-1), r"\$\.nodes\[0\]\.cpus\[0\]\.id"),
    ],
)
def test_another_form_is_refused_with_its_place(
    example: Example, change: Callable[[dict[str, Any]], None], where: str
) -> None:
    with pytest.raises(DocumentError, match=where):
        load(changed(dump(example("passing")), change))


def test_another_version_is_refused_by_its_number(example: Example) -> None:
    text = changed(dump(example("passing")), lambda d: d.update(version=99))
    with pytest.raises(DocumentError, match="version 99"):
        load(text)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"x"', "{}"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(DocumentError, match="not a report document"):
        load(text)


def finding(verdict: Verdict) -> Finding:
    return Finding("X", verdict, "said")


def test_a_failure_is_worse_than_everything() -> None:
    assert worst(finding(verdict) for verdict in Verdict) is Verdict.FAIL


def test_a_pass_outweighs_what_did_not_apply() -> None:
    assert worst([finding(Verdict.NOT_APPLICABLE), finding(Verdict.PASS)]) is Verdict.PASS


def test_nothing_is_not_observed() -> None:
    assert worst([]) is Verdict.NOT_OBSERVED


def test_every_verdict_is_counted() -> None:
    counts = count([finding(Verdict.PASS), finding(Verdict.PASS), finding(Verdict.FAIL)])
    assert set(counts) == set(Verdict)
    assert (counts[Verdict.PASS], counts[Verdict.FAIL], counts[Verdict.ERROR]) == (2, 1, 0)


def as_version_3(text: str) -> str:
    """What a former version of the tool would have written."""

    def former(data: dict[str, Any]) -> None:
        data["version"] = 3
        del data["setting"], data["selection"]
        for name in ("command", "judged_by"):
            del data["run"][name]
        for name in ("kept", "known", "applying"):
            del data["conclusion"][name]
        for requirement in data["requirements"]:
            del requirement["standing"], requirement["why"]
        for each in data["findings"]:
            del each["notes"]

    return changed(text, former)


@pytest.mark.parametrize("name", ["passing", "failing", "inconclusive", "interrupted"])
def test_the_version_before_is_read(example: Example, name: str) -> None:
    document = example(name)
    former = load(as_version_3(dump(document)))
    assert former.version == document.version
    assert former.setting is None
    assert former.conclusion.reason == document.conclusion.reason
    assert [each.standing for each in former.requirements] == [
        each.standing for each in document.requirements
    ]
    kept = sum(each.standing is Standing.KEPT for each in document.requirements)
    assert former.conclusion.kept == kept


def test_a_broken_document_of_the_version_before_is_refused() -> None:
    with pytest.raises(DocumentError, match="not a report document"):
        load('{"version": 3, "requirements": [1]}')
