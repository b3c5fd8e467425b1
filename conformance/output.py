"""What commands print for other programs: JSON or YAML, to standard output and nothing else."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

TABLE, JSON, YAML, WIDE = "", "json", "yaml", "wide"


def declare(parser: ArgumentParser, forms: Iterable[str] = (JSON, YAML)) -> ArgumentParser:
    """Adds ``-o``, as kubectl has it; returns the parser."""
    choices = tuple(forms)
    parser.add_argument(
        "-o",
        "--output",
        dest="form",
        choices=choices,
        default=TABLE,
        metavar="|".join(choices),
        help="another form of what is printed",
    )
    return parser


def emit(value: Any, form: str) -> None:
    """Prints a value of dicts, lists, texts and numbers as JSON or YAML."""
    if form == JSON:
        json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
        print()
        return
    import yaml

    yaml.safe_dump(value, sys.stdout, sort_keys=False, allow_unicode=True)
