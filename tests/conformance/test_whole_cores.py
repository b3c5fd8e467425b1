"""Nodes that give whole cores only."""

from __future__ import annotations

from fixtures.suite import Judged, requirement


@requirement("SMT-ALIGNED")
def test_whole_cores_are_given_where_only_whole_ones_may_be(judged: Judged) -> None:
    """A part of a core is rejected with its reason; what is given is whole cores."""
    judged.must_be_kept()
