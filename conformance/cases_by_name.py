"""The cases of a matrix that the user named: one of ours, or files of manifests."""

from __future__ import annotations

from pathlib import Path

from conformance.command_line import did_you_mean
from conformance.matrix.cases import Case
from conformance.matrix.documents import MatrixFileError, decoded
from conformance.matrix.files import UserFile, user_file
from conformance.matrix.manifests import Images
from conformance.matrix.matrices import NAMES, matrix

ENDINGS = frozenset({".json", ".yaml", ".yml"})
"""Of the files of a directory that are read, as `kubectl apply -f DIRECTORY` has it."""


def is_file(name: str) -> bool:
    """Whether a matrix is a user's own."""
    return name not in NAMES


def cases_by_name(name: str, profile: str, images: Images | None = None) -> tuple[Case, ...]:
    """The cases, in the same order every time; arguments and errors as of `chosen`."""
    return chosen(name, profile, images).cases


def chosen(name: str, profile: str, images: Images | None = None) -> UserFile:
    """The cases with what they need, in the same order every time.

    Args:
        name: of a matrix of ours, of a file, or of a directory of files.
        profile: the generation of the API.
        images: what the manifests of our own matrices refer to; a file says that itself.

    Raises:
        ValueError: there is neither such a matrix nor such a file, or the file holds
            something else; the message says which and where.
    """
    if not is_file(name):
        return UserFile(matrix(name, profile, images))
    path = Path(name)
    try:
        paths = _files_below(path) if path.is_dir() else [path]
        texts = [(str(each), decoded(each.read_bytes(), str(each))) for each in paths]
    except OSError as error:
        raise ValueError(
            f"--matrix {name}: neither one of {', '.join(NAMES)} nor a file that can be read "
            f"({error.strerror}){did_you_mean(name, NAMES)}"
        ) from None
    return user_file(texts, profile)


def _files_below(directory: Path) -> list[Path]:
    found = sorted(each for each in directory.iterdir() if each.suffix.lower() in ENDINGS)
    if not found:
        raise MatrixFileError(f"{directory} has no file that ends in {', '.join(sorted(ENDINGS))}")
    return found
