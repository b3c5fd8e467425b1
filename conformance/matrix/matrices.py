"""The matrices by name."""

from __future__ import annotations

from collections.abc import Callable

from conformance.matrix.cases import Case
from conformance.matrix.manifests import Images
from conformance.matrix.smoke import smoke

MATRICES: dict[str, Callable[[str, Images | None], tuple[Case, ...]]] = {"smoke": smoke}


def matrix(name: str, profile: str = "v1", images: Images | None = None) -> tuple[Case, ...]:
    """The cases of a matrix, the same in the same order every time.

    Raises:
        ValueError: there is no such matrix.
    """
    if name not in MATRICES:
        raise ValueError(f"there is no matrix {name!r}; choose one of {', '.join(MATRICES)}")
    return MATRICES[name](profile, images)
