"""Options that one command line hands on to another."""

from __future__ import annotations

import argparse

import pytest

from conformance import options

ALL = (*options.SPEC, *options.RUN)


def parsed(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    options.declare(parser.add_argument, ALL)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--shape", "no-smt", "--profile", "v1alpha2", "--patience", "2.5"],
        ["--break", "qos_broken", "--break", "vcpus_not_pinned"],
        ["--disruptive", "--kubeconfig", "a b", "--keep", "always"],
        ["--matrix", "mine.yaml", "--report-dir", "else where"],
    ],
)
def test_what_is_handed_on_says_the_same(words: list[str]) -> None:
    given = parsed(words)
    handed_on = options.forwarded(given, ALL)
    assert parsed(handed_on) == given
    assert len(handed_on) == len(words), "what nobody asked for is not spelled out"
