"""What remains."""

from __future__ import annotations

from fixtures.suite import Judged, requirement


@requirement("LIFE-RELEASED")
def test_deleted_vmi_gives_everything_back(judged: Judged) -> None:
    """A deleted VMI leaves no pod, no cgroup and no assignment; its pCPUs are shared again."""
    judged.must_be_kept()
