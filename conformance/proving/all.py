"""Imports every module of saboteurs, so that they are registered."""

from conformance.proving import (
    of_cpus,
    of_gates,
    of_guests,
    of_hotplug,
    of_iothreads,
    of_memory,
    of_migrations,
    of_nodes,
    of_objects,
    of_pins,
    of_restarts,
    of_scenarios,
    of_stacks,
    of_topology,
    of_watches,
)

__all__ = [
    "of_cpus",
    "of_gates",
    "of_guests",
    "of_hotplug",
    "of_iothreads",
    "of_memory",
    "of_migrations",
    "of_nodes",
    "of_objects",
    "of_pins",
    "of_restarts",
    "of_scenarios",
    "of_stacks",
    "of_topology",
    "of_watches",
]
