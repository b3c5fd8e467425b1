"""What to say of an exception that nobody expects: it is a defect of ours, wherever it shows."""

from __future__ import annotations

from pathlib import Path


def whereabouts(error: BaseException) -> str:
    """An unexpected exception in one line, with its type and the place that raised it."""
    place, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code.co_filename
        place = f" at {Path(code).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__}{place}: {error}"


def defect(error: BaseException) -> str:
    """The same as a sentence: the cluster has no part in it."""
    return f"the harness itself broke: {whereabouts(error)}"
