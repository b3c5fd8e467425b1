"""Imports every module of checks, so that each registers itself."""

from conformance.checks import (  # noqa: F401 - imported for their registration
    admission,
    emulator_threads,
    exclusivity,
    guest_topology,
    iothreads,
    lifecycle,
    node_labels,
    qos,
    shared_pool,
    sidecars,
    smt,
    vcpu_pinning,
)
