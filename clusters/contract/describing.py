"""What a provider says of itself before anything of it is loaded.

Each folder of a provider has a module ``description`` with a `Description` called ``DESCRIPTION``;
`clusters.providers` finds it. It is read at every start, so it imports nothing that takes time.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clusters.contract.hardware import Hardware
from clusters.contract.shape import SHAPES


@dataclass(frozen=True)
class Option:
    """One option of the command line.

    Attributes:
        flag: such as ``--report-dir``.
        help: what it is for.
        settings: what else argparse is told: ``type``, ``choices``, ``default``, ``metavar``.
        private: its value is not recorded: it may hold a secret.
    """

    flag: str
    help: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    private: bool = False

    @property
    def name(self) -> str:
        """The name of its value."""
        return self.flag.removeprefix("--").replace("-", "_")


class ShapeNames(tuple[str, ...]):
    """Names of shapes to choose from, and any file that describes one."""

    def __contains__(self, value: object) -> bool:
        return super().__contains__(value) or is_shape_file(str(value))


def is_shape_file(value: str) -> bool:
    """Whether a value of ``--shape`` is a path, and no name."""
    return "/" in value or value.endswith((".yaml", ".yml", ".json"))


SHAPE = Option(
    "--shape",
    "CPUs of the nodes and the configuration of their kubelets, for clusters that are made for "
    f"the run: {', '.join(SHAPES)}, or a file (default: default)",
    {"choices": ShapeNames(SHAPES), "default": "default", "metavar": "NAME|FILE"},
)
"""Of providers that make nodes of any shape; its value becomes `ClusterSpec.nodes`."""


@dataclass(frozen=True)
class Need:
    """Something of this machine that takes more than Python.

    Attributes:
        what: it, in words that begin a sentence.
        programs: the Debian package of each program that it takes.
        modules: the Python distribution of each module that it takes.
        group: what `.ci/prepare` calls it; empty where that does not install it.
    """

    what: str
    programs: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    group: str = ""


@dataclass(frozen=True)
class Description:
    """One kind of cluster.

    Attributes:
        name: as users call it, and the name of its folder.
        purpose: what it is for, in a few words.
        options: those that mean anything to it. Two providers that share an option declare the
            same one. Values are what JSON can hold; but for ``--shape`` they become
            `ClusterSpec.options`, by their names.
        at_once: how many VMIs are in the works at once, unless the user says; 0 is one at a
            time in the process of the run.
        made: its clusters are made on this machine for the run and go with it. Otherwise they
            were there before, are elsewhere, and stay.
        light: its nodes take next to nothing of this machine, so that several clusters run at
            once.
        need: what it needs of this machine beyond Python.
        limits: tells why it cannot make a node with some hardware; empty when it can.
    """

    name: str
    purpose: str
    options: tuple[Option, ...] = ()
    at_once: int = 4
    made: bool = True
    light: bool = False
    need: Need | None = None
    limits: Callable[[Hardware], str] = lambda _: ""

    @property
    def shaped(self) -> bool:
        """Whether its nodes can be had in any shape."""
        return SHAPE in self.options


_IMAGE = re.compile(
    r"[\w.-]+(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:\w[\w.-]*)?(@sha256:[0-9a-f]{64})?", re.ASCII
)


def image_name(text: str) -> str:
    """The name of an image, or what it begins with, as it was given.

    Source of the form: distribution/reference, reference.go.

    Raises:
        ArgumentTypeError: no image can be called so.
    """
    if not _IMAGE.fullmatch(text):
        raise ArgumentTypeError(
            f"{text!r} names no image: write it like registry.example/team/guest:latest, without "
            "https:// and without a slash at the end"
        )
    return text
