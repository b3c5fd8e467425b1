"""What files of evidence must look like: JSON values read strictly into dataclasses.

The dataclass is the form: its fields are the members, its annotations their types, its defaults
what a former version did not record. Nothing is converted: a number is no text, and true is no
number.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, cast

T = TypeVar("T")
_Reader = Callable[[Any, str], Any]
_LARGEST_NUMBER = 2**63
_WORDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}


class FormError(ValueError):
    """A value has another form; the message says where, and what it should be."""


def structure(kind: type[T], value: object, where: str, *, strict: bool = True) -> T:
    """Reads a JSON value.

    Args:
        kind: a dataclass of texts, numbers, tuples, mappings by text, other dataclasses and None.
        value: as it was loaded.
        where: what messages call it.
        strict: whether a member that the dataclass does not have is an error. Otherwise it is
            passed over, at every depth.

    Raises:
        FormError: it has another form.
    """
    found: T = _reader(cast(Hashable, kind), strict)(value, where)
    return found


@cache
def _reader(kind: Any, strict: bool) -> _Reader:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return lambda value, _where: value
    if kind in _WORDS:
        return _scalar(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        return _object(kind, strict)
    if origin in (typing.Union, types.UnionType):
        (other,) = (each for each in arguments if each is not types.NoneType)
        read = _reader(other, strict)
        return lambda value, where: None if value is None else read(value, where)
    if origin is tuple and arguments[1:] == (...,):
        return _list(_reader(arguments[0], strict))
    if origin is Mapping and arguments[0] is str:
        return _mapping(arguments[1], strict)
    raise TypeError(f"{kind} has no form in JSON")


def _scalar(kind: type) -> _Reader:
    accepted = (int, float) if kind is float else kind

    def read(value: Any, where: str) -> Any:
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise _other(value, where, _WORDS[kind])
        if isinstance(value, int) and abs(value) >= _LARGEST_NUMBER:
            raise FormError(f"{where} is too large a number")
        return value

    return read


def _list(item: _Reader) -> _Reader:
    def read(value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _other(value, where, "a list")
        return tuple(item(each, f"{where}[{index}]") for index, each in enumerate(value))

    return read


def _mapping(kind: Any, strict: bool) -> _Reader:
    item = _reader(kind, strict)

    def read(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _other(value, where, "an object")
        # A node has thousands of files, and nothing of an object is looked at here.
        if kind is Any or (kind is str and all(type(each) is str for each in value.values())):
            return value
        return {key: item(each, f"{where} {key!r:.100}") for key, each in value.items()}

    return read


def _object(kind: type, strict: bool) -> _Reader:
    hints = typing.get_type_hints(kind)
    readers = {each.name: _reader(hints[each.name], strict) for each in fields(kind)}
    required = {
        each.name
        for each in fields(kind)
        if each.default is MISSING and each.default_factory is MISSING
    }

    def read(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise _other(value, where, "an object")
        if missing := required - value.keys():
            raise FormError(f"{where} lacks {_names(sorted(missing))}")
        if strict and (unknown := value.keys() - readers.keys()):
            raise FormError(
                f"{where} says {_names(sorted(unknown))}, which this version does not know: "
                "a newer one may have recorded it"
            )
        return kind(
            **{
                name: readers[name](each, f"{where}: {name}")
                for name, each in value.items()
                if name in readers
            }
        )

    return read


def _names(names: Sequence[str]) -> str:
    """Some of them: a file may hold any number, of any length."""
    shown = ", ".join(f"{name:.60}" for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _other(value: object, where: str, wanted: str) -> FormError:
    found = {dict: "an object", list: "a list", type(None): "null", **_WORDS}[type(value)]
    return FormError(f"{where} is {found}, not {wanted}")
