"""Which nodes may run dedicated VMIs."""

from __future__ import annotations

from fixtures.suite import Judged, requirement


@requirement("NODE-LABEL")
def test_node_is_labelled_as_its_cpu_manager_runs(judged: Judged) -> None:
    """A node carries the cpumanager label exactly when its CPU manager is static."""
    judged.must_be_kept()


@requirement("NODE-SELECT")
def test_dedicated_vmi_runs_on_a_labelled_node(judged: Judged) -> None:
    """The launcher pod selects the label, and runs where it is."""
    judged.must_be_kept()


@requirement("RT-LABEL")
def test_label_tells_where_real_time_is_allowed(judged: Judged) -> None:
    """A node is labelled exactly when its real-time threads may run without end."""
    judged.must_be_kept()
