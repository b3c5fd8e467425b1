"""Imports every module of checks, so that each registers itself."""

from conformance.checks import (  # noqa: F401 - imported for their registration
    admission,
    alignment,
    capacity,
    emulator_threads,
    exclusivity,
    guest_topology,
    identification,
    iothreads,
    lifecycle,
    neighbours,
    node_labels,
    numa,
    qos,
    quota,
    reservation,
    restarts,
    shared_pool,
    sidecars,
    smt,
    vcpu_pinning,
)
