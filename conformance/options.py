"""The options of a run, declared once for the command line and for pytest.

`./conform run` hands them to pytest as they are; `./conform up` and `collect` take those
that they understand.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from clusters import providers
from clusters.embedded.faults import SWITCHES
from clusters.shape import SHAPES, ClusterSpec

NO_MORE: Mapping[str, str] = MappingProxyType({})
Declare = Callable[..., object]
"""`ArgumentParser.add_argument`, or pytest's `OptionGroup.addoption`."""
ValueOf = Callable[[str], Any]
"""The value of an option by its name without dashes, such as ``report_dir``."""


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        flag: such as ``--report-dir``.
        help: what it is for.
        settings: what else argparse is told: ``type``, ``choices``, ``default``, ``metavar``.
    """

    flag: str
    help: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of its value."""
        return self.flag.removeprefix("--").replace("-", "_")


CLUSTER = Option(
    "--cluster",
    "what the VMIs run on",
    {"choices": providers.NAMES, "default": "embedded"},
)
KUBECONFIG = (
    Option("--kubeconfig", "of an existing cluster", {"metavar": "FILE"}),
    Option("--context", "of the kubeconfig", {"metavar": "NAME"}),
)
SPEC = (
    Option(
        "--shape",
        "CPUs of the nodes and their CPU managers, for clusters that are made for the run",
        {"choices": tuple(SHAPES), "default": "default"},
    ),
    Option(
        "--workers",
        "nodes of a kind cluster that take VMIs (default: 1)",
        {"type": int, "default": 1, "metavar": "N"},
    ),
    Option(
        "--kubevirt",
        "where the KubeVirt of a cluster that is made comes from (default: a pinned release)",
        {"metavar": "URL|FILE|DIR|none"},
    ),
    Option(
        "--images",
        "archives of container images that a cluster is given, for hosts without a registry",
        {"metavar": "DIR|FILE"},
    ),
    Option(
        "--break",
        "a behaviour of the embedded or simulated stack to spoil, to see it found; repeatable",
        {"action": "append", "choices": SWITCHES, "metavar": "FAULT"},
    ),
    Option(
        "--kubernetes",
        "with the Kubernetes programs that a virtual cluster runs",
        {"metavar": "DIR"},
    ),
    *KUBECONFIG,
)
"""Which cluster is asked for; `cluster_spec` reads them."""
PROFILES = ("v1", "v1alpha2")
PROFILE = Option(
    "--profile",
    "which generation of the promise (default: v1)",
    {"choices": PROFILES, "default": "v1"},
)
REPORT_DIR = Option(
    "--report-dir",
    "where reports and evidence go (default: reports-out)",
    {"type": Path, "default": Path("reports-out"), "metavar": "DIR"},
)
RUN = (
    Option(
        "--matrix",
        "which cases (default: smoke)",
        {"default": "smoke", "metavar": "smoke|standard|full|pods|scenarios|FILE"},
    ),
    PROFILE,
    REPORT_DIR,
    Option(
        "--keep",
        "whether the cluster of the run stays up",
        {"choices": ("never", "on-failure", "always"), "default": "never"},
    ),
    Option(
        "--patience",
        "stretches every deadline, for a slow cluster (default: 1)",
        {"type": float, "default": 1.0, "metavar": "FACTOR"},
    ),
)
"""What is run on it, and how."""


def declare(add: Declare, options: Iterable[Option], *, more: Mapping[str, str] = NO_MORE) -> None:
    """Declares the options to argparse or to pytest.

    Args:
        add: what declares one.
        options: which.
        more: one more choice for an option, by its flag.
    """
    for option in options:
        settings = dict(option.settings)
        if option.flag in more:
            settings["choices"] = (*settings["choices"], more[option.flag])
        add(option.flag, help=option.help, **settings)


def forwarded(arguments: Namespace, options: Iterable[Option]) -> list[str]:
    """The options as they were given, as words of another command line."""
    words = []
    for option in options:
        value = getattr(arguments, option.name)
        if value is not None and value != option.settings.get("default"):
            for each in value if isinstance(value, list) else [value]:
                words += [option.flag, str(each)]
    return words


def cluster_spec(value: ValueOf) -> ClusterSpec:
    """The cluster that the options ask for."""
    return ClusterSpec(
        nodes=SHAPES[value("shape")],
        profile=value("profile"),
        kubeconfig=value("kubeconfig"),
        context=value("context"),
        kubernetes=value("kubernetes"),
        workers=value("workers"),
        kubevirt=value("kubevirt"),
        images=value("images"),
        faults=tuple(value("break") or ()),
    )
