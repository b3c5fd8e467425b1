"""The options of a run, declared once for the command line and for pytest.

`./conform run` hands them to pytest as they are; `./conform up` and `collect` take those
that they understand.
"""

from __future__ import annotations

import contextlib
import math
import os
import shlex
from argparse import ArgumentError, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from clusters import providers
from clusters.contract.describing import SHAPE, Option, image_name, is_shape_file
from clusters.contract.shape import SHAPES, ClusterSpec, NodeSpec
from clusters.existing import description as existing
from clusters.providers import DESCRIPTIONS
from conformance.exits import Insist
from conformance.model.vocabulary import API_VERSIONS, CURRENT, PROFILES

if TYPE_CHECKING:
    from conformance.matrix.manifests import Images

NO_MORE: Mapping[str, str] = MappingProxyType({})
Declare = Callable[..., object]
"""`ArgumentParser.add_argument`, or pytest's `OptionGroup.addoption`."""
ValueOf = Callable[[str], Any]
"""The value of an option by its name without dashes, such as ``report_dir``."""


def positive(text: str) -> float:
    """A finite number above 0. Raises ArgumentTypeError."""
    with contextlib.suppress(ValueError):
        if 0 < (number := float(text)) < math.inf:
            return number
    raise ArgumentTypeError(f"{text!r} is no number above 0")


CLUSTER = Option(
    "--cluster",
    "what the VMIs run on ("
    + "; ".join(f"{name}: {each.purpose}" for name, each in DESCRIPTIONS.items())
    + f"; default: {providers.DEFAULT})",
    {"choices": tuple(DESCRIPTIONS), "default": providers.DEFAULT},
)


def _each_once(options: Iterable[Option]) -> tuple[Option, ...]:
    found: list[Option] = []
    for option in options:
        if option not in found:
            found.append(option)
    return tuple(found)


KUBECONFIG = existing.DESCRIPTION.options
"""How a cluster that is there already is reached, for commands that are about no other."""
SPEC = _each_once(option for each in DESCRIPTIONS.values() for option in each.options)
"""Which cluster is asked for; `cluster_spec` reads them."""
ALL = "all"
"""Every shape, or every profile that no other one includes: a campaign."""
PROFILE = Option(
    "--profile",
    "what a cluster is judged by: the user guide of today, what it said before (v1), or the guide "
    f"of 2018 (v1alpha2); what a cluster lacks does not apply (default: {CURRENT})",
    {"choices": PROFILES, "default": CURRENT},
)
REPORT_DIR = Option(
    "--report-dir",
    "where reports and evidence go (default: reports-out, below $ARTIFACTS where that is set)",
    {
        "type": Path,
        "default": Path(os.environ.get("ARTIFACTS", ""), "reports-out"),
        "metavar": "DIR",
    },
)
IMAGE_PREFIX = Option(
    "--image-prefix",
    "what the names of the images guest, disk and sidecar begin with, such as "
    "registry.example/team (default: localhost/cpu-conformance)",
    {"type": image_name, "default": "localhost/cpu-conformance", "metavar": "PREFIX"},
)
GUEST_IMAGE = Option(
    "--guest-image", "another image for the guest", {"type": image_name, "metavar": "REF"}
)
INSIST = Option(
    "--insist",
    "ends with exit code 2 unless every mandatory requirement that applies was asked, or was "
    "asked and kept",
    {"choices": tuple(Insist), "type": Insist, "metavar": "asked|kept"},
)
WAIVERS = Option(
    "--waivers",
    "failures that are allowed: a YAML file with requirement, case, node, reason and the last day",
    {"type": Path, "metavar": "FILE"},
)
NODES = Option(
    "--nodes",
    "nodes that are each judged by a VMI with dedicated CPUs, beside the matrix: all that are "
    "labelled, so many of them, or these",
    {"metavar": "all|N|NAME,..."},
)
LABEL_FILTER = Option(
    "--label-filter",
    "only cases and scenarios with these labels, as in Ginkgo: 'family:PIN && !disruptive'",
    {"metavar": "EXPR"},
)
VERBOSE = Option(
    "--verbose", "prints everything: each phase of a VMI, every finding", {"action": "store_true"}
)
RUN = (
    IMAGE_PREFIX,
    GUEST_IMAGE,
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
        {"type": positive, "default": 1.0, "metavar": "FACTOR"},
    ),
    INSIST,
    WAIVERS,
    NODES,
    LABEL_FILTER,
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
            known = settings["choices"]
            settings["choices"] = type(known)((*known, more[option.flag]))
        add(option.flag, help=option.help, **settings)


def declare_to_pytest(add: Declare, options: Iterable[Option]) -> None:
    """Declares the options beside those of whatever other plugins are installed.

    Each is there as ``--conform-NAME``, and as ``--NAME`` where nobody else has that: other
    plugins know a ``--workers`` or a ``--profile`` too. `pytest_value` reads them.

    Args:
        add: pytest's `OptionGroup.addoption`.
        options: which.
    """
    for option in options:
        settings = {"help": option.help, "dest": _pytest_name(option.name), **option.settings}
        prefixed = f"--conform-{option.flag.removeprefix('--')}"
        try:
            add(prefixed, option.flag, **settings)
        except (ValueError, ArgumentError):  # somebody else's
            add(prefixed, **settings)


def pytest_value(getoption: ValueOf) -> ValueOf:
    """What reads the options by their names, of ``pytest.Config.getoption``."""
    return lambda name: getoption(_pytest_name(name))


def _pytest_name(name: str) -> str:
    return f"conform_{name}"


def _given(option: Option, value: object) -> bool:
    """Whether a value is more than what the option says when nobody gives it."""
    return value is not None and value is not False and value != option.settings.get("default")


def forwarded(arguments: Namespace, options: Iterable[Option]) -> list[str]:
    """The options as they were given, as words of another command line."""
    return _words(lambda name: getattr(arguments, name), options)


def command_line(
    value: ValueOf, *, keyword: str = "", tests: Iterable[str] = (), at_once: object = None
) -> str:
    """The command line of a run, to be recorded: as `./conform run` takes it, without secrets.

    Args:
        value: of each option.
        keyword: the expression of ``-k``.
        tests: the tests that were named beside it, as pytest takes them.
        at_once: the number of VMIs at once.
    """
    words = ["conform", "run", *_words(value, (CLUSTER, *SPEC, *RUN), recorded=True)]
    words += ["-n", str(at_once)] if at_once is not None else []
    words += ["-k", keyword] if keyword else []
    return shlex.join([*words, *tests])


def _words(value: ValueOf, options: Iterable[Option], *, recorded: bool = False) -> list[str]:
    words = []
    for option in options:
        given = value(option.name)
        if given is True:
            words.append(option.flag)
        elif _given(option, given):
            for each in given if isinstance(given, list) else [given]:
                words += [option.flag, "..." if recorded and option.private else str(each)]
    return words


def images(value: ValueOf) -> Images:
    """The images that the options ask for."""
    from conformance.matrix.manifests import Images

    return Images.below(value("image_prefix"), value("guest_image"))


def cluster_spec(value: ValueOf) -> ClusterSpec:
    """The cluster that the options ask for.

    Raises:
        ValueError: an option means nothing to the kind of cluster that is asked for, or the
            shape is none that it can make.
    """
    description = DESCRIPTIONS[value("cluster")]
    for option in SPEC:
        if option not in description.options and _given(option, value(option.name)):
            raise ValueError(
                f"{option.flag} is for --cluster {', '.join(kinds_with(option))}, not for "
                f"{description.name}"
            )
    own = (option.name for option in description.options if option != SHAPE)
    nodes = _nodes(value("shape"))
    for node in nodes if description.shaped else ():
        if why := description.limits(node.shape.hardware):
            raise ValueError(
                f"--shape {value('shape')}: --cluster {description.name} cannot make {node.name}: "
                f"{why}"
            )
    return ClusterSpec(
        nodes=nodes,
        profile=API_VERSIONS[value("profile")],
        options={name: value(name) for name in own},
    )


def _nodes(shape: str) -> tuple[NodeSpec, ...]:
    """The nodes of a shape by its name, or by the file that describes it. Raises ValueError."""
    if not is_shape_file(shape):
        return SHAPES[shape]
    import yaml

    from clusters.contract import shape_file
    from conformance.safe_yaml import Loader

    try:
        return shape_file.nodes(yaml.load(Path(shape).read_text(), Loader))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"--shape {shape}: it cannot be read: {error}") from None
    except shape_file.ShapeError as error:
        raise ValueError(f"--shape {shape}: {error}") from None


def kinds_with(option: Option) -> tuple[str, ...]:
    """The kinds of cluster to which an option means anything."""
    return tuple(name for name, each in DESCRIPTIONS.items() if option in each.options)
