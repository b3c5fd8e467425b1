import pytest

from reports.document import Finding, Verdict
from reports.wording import alike, duration, printable, some


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


def test_failures_of_different_requirements_stay_apart() -> None:
    findings = [Finding(name, Verdict.FAIL, "said", case="x") for name in ("A", "B", "A")]
    assert [group.requirements for group in alike(findings)] == [("A",), ("B",)]


def test_what_was_lost_together_is_said_together() -> None:
    findings = [
        Finding(name, Verdict.NOT_OBSERVED, "node died", case=case)
        for name in ("A", "B")
        for case in ("x", "y")
    ]
    (group,) = alike(findings)
    assert (group.requirements, group.places) == (("A", "B"), ("x", "y"))


def test_long_lists_are_cut_with_their_number() -> None:
    assert some(["a", "b"], 2) == "a, b"
    assert some(["a", "b", "c"], 2) == "a, b and 1 more"
