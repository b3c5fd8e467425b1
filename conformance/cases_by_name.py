"""The cases of a matrix that the user named: one of ours, or a file of manifests."""

from __future__ import annotations

from pathlib import Path

from conformance.command_line import did_you_mean
from conformance.matrix.cases import Case
from conformance.matrix.files import cases_of
from conformance.matrix.manifests import Images
from conformance.matrix.matrices import NAMES, matrix


def cases_by_name(name: str, profile: str, images: Images | None = None) -> tuple[Case, ...]:
    """The cases, in the same order every time.

    Args:
        name: of a matrix of ours, or a file.
        profile: the generation of the API.
        images: what the manifests of our own matrices refer to; a file says that itself.

    Raises:
        ValueError: there is neither such a matrix nor such a file, or the file holds
            something else; the message says which and where.
    """
    if name in NAMES:
        return matrix(name, profile, images)
    path = Path(name)
    try:
        text = path.read_text()
    except UnicodeDecodeError:
        raise ValueError(f"{name} is no text") from None
    except OSError as error:
        raise ValueError(
            f"--matrix {name}: neither one of {', '.join(NAMES)} nor a file that can be read "
            f"({error.strerror}){did_you_mean(name, NAMES)}"
        ) from None
    return cases_of(text, name, profile)
