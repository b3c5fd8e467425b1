"""How long a virtual node takes: ``python -m clusters.virtual_node.bench``."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from clusters.shape import NodeShape
from clusters.virtual_node import accel, image
from clusters.virtual_node.boot import Preparation, boot
from clusters.virtual_node.machine import Machine

ROUNDS = 7
PROCESSES = "/proc/[0-9]*/status"


def main() -> None:
    """Boots, saves, restores and measures; prints medians."""
    with tempfile.TemporaryDirectory(prefix="vn-") as base:
        built, chosen = image.build({}, progress=print), accel.choose(progress=print)

        def up(name: str, preparation: Preparation | None) -> Machine:
            directory = Path(base) / name
            directory.mkdir()
            began = time.monotonic()
            node = boot(
                name,
                directory,
                built,
                NodeShape(),
                chosen,
                tied=True,
                progress=lambda _line: None,
                preparation=preparation,
            )
            _say(name, time.monotonic() - began)
            return node

        up("cold-boot", None).stop()
        # A key of its own each time, so that there is nothing saved yet.
        preparation = Preparation(str(time.time()), lambda _node: None)
        up("boot-save-restore", preparation).stop()
        node = up("restore", preparation)
        files = len(node.shell.read([PROCESSES]).files)
        for label, action in (
            ("run of an empty script", lambda: node.shell.run(":")),
            ("run of /bin/true", lambda: node.shell.run(["/bin/true"])),
            (f"read of {files} files of /proc", lambda: node.shell.read([PROCESSES])),
            ("write of a file", lambda: node.shell.write("/root/file", b"x")),
        ):
            _say(label, statistics.median(_timed(action) for _ in range(ROUNDS)))
        node.stop()


def _timed(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def _say(label: str, seconds: float) -> None:
    print(f"{label:30} {seconds:8.3f} s")


if __name__ == "__main__":
    main()
