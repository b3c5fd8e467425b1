from collections.abc import Callable
from dataclasses import replace

import pytest

from reports.document import Document, Standing
from reports.wording import (
    LONGEST,
    coverage,
    duration,
    headline,
    one_line,
    printable,
    setting_facts,
    shortened,
    some,
)

Example = Callable[[str], Document]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.99, "10 s"),
        (42.4, "42 s"),
        (59.7, "1 min 00 s"),
        (228.4, "3 min 48 s"),
        (3_720, "1 h 02 min"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_control_characters_become_visible() -> None:
    assert printable("a\x00\x1b[31m\tb\nzwölf ✗ 🙂") == "a\\x00\\x1b[31m\tb\nzwölf ✗ 🙂"


def test_long_lists_are_cut_with_their_number() -> None:
    assert some(["a", "b"], 2) == "a, b"
    assert some(["a", "b", "c"], 2) == "a, b and 1 more"


@pytest.mark.parametrize(
    ("letter", "shown"),
    [
        ("\x1b", "\\x1b"),
        ("\x9b", "\\x9b"),  # CSI in one character
        ("\x7f", "\\x7f"),
        ("\r", "\\x0d"),
        ("\u202e", "\\u202e"),  # turns the direction of writing
        ("\u2066", "\\u2066"),
        ("\u200b", "\\u200b"),
        ("\u2028", "\\u2028"),
        ("\ufeff", "\\ufeff"),
        ("\ud800", "\\ud800"),
        ("\ufffe", "\\ufffe"),
        ("\U000e0041", "\\U000e0041"),  # a tag that nobody sees
    ],
)
def test_what_is_no_visible_character_becomes_visible(letter: str, shown: str) -> None:
    assert printable(f"a{letter}b") == f"a{shown}b"
    assert one_line(f"a{letter}b") == f"a{shown}b"


def test_lines_become_one() -> None:
    assert one_line(" a\n\tb  c\n") == "a b c"


def test_a_long_text_is_cut_and_says_so() -> None:
    assert shortened("x" * LONGEST) == "x" * LONGEST
    assert shortened("x" * 5_000, 10) == (
        "x" * 10 + " … (cut, of 5000 characters; report.json has them all)"
    )
    assert "50000000 characters" in shortened(" " * 50_000_000)


def test_each_requirement_is_covered_once_and_the_worst_come_first(any_document: Document) -> None:
    lines = coverage(any_document.requirements)
    ids = [
        name.split(" (")[0]
        for _standing, _number, which in lines
        for name in which.split(" (")[0].split(", ")
    ]
    assert sorted(ids) == sorted(requirement.id for requirement in any_document.requirements)
    order = [list(Standing).index(standing) for standing, _number, _which in lines]
    assert order == sorted(order)


def test_requirements_with_the_same_reason_share_a_line(example: Example) -> None:
    first, second, third, *_ = example("passing").requirements
    lines = coverage(
        replace(each, standing=Standing.NOT_ASKED, why=why)
        for each, why in ((first, "a"), (second, "b"), (third, "a"))
    )
    assert lines == [
        (Standing.NOT_ASKED, "3", f"{first.id}, {third.id} (a)"),
        (Standing.NOT_ASKED, "", f"{second.id} (b)"),
    ]


def test_the_setting_is_told_with_what_is_not_known(example: Example) -> None:
    document = example("passing")
    facts = dict(setting_facts(document))
    assert facts["KubeVirt"] == "v1.9.0"
    assert facts["Node node-1"] == "v1.36.2, containerd://2.1.4, 6.12.0, Debian 13, amd64"
    assert facts["libvirt"].startswith("libvirt 10.5.0, QEMU 9.0.0")
    assert facts["Not read: served"].endswith("403 Forbidden")
    assert facts["Command"] == "conform run --cluster embedded"
    assert facts["Tool"] == "0.1.0"
    assert "Selection" not in facts
    assert document.setting is not None
    unread = replace(document.setting, kubevirt="", unread={"kubevirt": "403"})
    assert dict(setting_facts(replace(document, setting=unread)))["KubeVirt"] == "not known"
    part = replace(document.selection, keyword="isolate", left_out=7)
    said = dict(setting_facts(replace(document, selection=part)))["Selection"]
    assert said == "-k 'isolate'; 7 cases and scenarios of the matrix left out"


def test_the_headline_is_the_outcome_but_for_what_is_covered(any_document: Document) -> None:
    assert ":" not in headline(any_document.conclusion)
