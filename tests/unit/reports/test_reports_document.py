import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from jsonschema import Draft202012Validator

from reports import document, html, junit, markdown, metrics
from reports.document import (
    Document,
    DocumentError,
    Finding,
    OwnerKind,
    Source,
    Standing,
    Verdict,
    count,
    worst,
)
from reports.form import dump, load, schema

FORMER = Path(__file__).parents[2] / "recorded" / "reports"
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
    assert set(defs["claim"]["properties"]["kind"]["enum"]) == set(OwnerKind)
    assert set(defs["claim"]["properties"]["source"]["enum"]) == set(Source)
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


FORMS = {7: "b9b4ae8a7356b97f"}
"""Digests of the schema by version: another content is another version."""


def test_another_content_of_the_schema_is_another_version() -> None:
    content = json.dumps(schema(), sort_keys=True)
    assert hashlib.sha256(content.encode()).hexdigest()[:16] == FORMS[document.VERSION]


@pytest.mark.parametrize("version", [3, 4, 5])
def test_documents_of_former_versions_are_read_and_rendered(version: int) -> None:
    text = (FORMER / f"version-{version}.json").read_text()
    former = load(text)
    assert former.version == document.VERSION
    assert former.conclusion.exit_code == 1
    assert {each.verdict for each in former.findings} >= {Verdict.FAIL, Verdict.PASS}
    assert any(each.standing is Standing.BROKEN for each in former.requirements)
    assert "PIN-THREADS@topology-2x2x1" in {each.id for each in former.findings}
    for render in (html.render, junit.render, markdown.render, metrics.render):
        assert "PIN-THREADS" in render(former)
    assert former.nodes[0].maps[0].claims


def test_a_broken_document_of_the_version_before_is_refused() -> None:
    with pytest.raises(DocumentError, match="not a report document"):
        load('{"version": 3, "requirements": [1]}')


def test_a_report_of_version_5_is_read_without_waivers_and_without_what_follows_from_what(
    example: Example,
) -> None:
    failing = example("failing")
    data = json.loads(dump(failing))
    del data["waivers"], data["watches"], data["selection"]["nodes"]
    for each in (data, *data["requirements"]):
        del each["counts"]["waived"]
    for each in data["requirements"]:
        del each["follows"], each["unseen_without"]
    bare = [replace(each, follows=(), unseen_without=()) for each in failing.requirements]
    former = load(json.dumps({**data, "version": 5}))
    assert former == replace(failing, requirements=tuple(bare))


def test_a_report_of_version_6_is_read_without_a_watcher(example: Example) -> None:
    data = json.loads(dump(example("failing")))
    del data["watches"]
    assert load(json.dumps({**data, "version": 6})) == example("failing")
