"""For developers: boots a virtual node and gives a shell on it, or runs one command there.

python -m clusters.virtual_node --shape 2x3x2 --numa 2 --memory 3072 [COMMAND...]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from clusters.contract.provider import ClusterError
from clusters.contract.shape import NodeShape
from clusters.host import scratch
from clusters.virtual_node import accel, image
from clusters.virtual_node.boot import boot


def main() -> int:
    """Boots, hands over to ssh, and removes the node at the end."""
    parser = argparse.ArgumentParser(prog="python -m clusters.virtual_node")
    parser.add_argument("--shape", default="2x3x2", help="sockets x cores x threads")
    parser.add_argument("--numa", type=int, default=2, help="NUMA nodes")
    parser.add_argument("--memory", type=int, default=3072, help="MiB")
    parser.add_argument("--put", action="append", default=[], metavar="FILE=PATH")
    parser.add_argument("command", nargs="*", help="run this instead of a shell")
    arguments = parser.parse_args()
    sockets, cores, threads = (int(part) for part in arguments.shape.split("x"))
    shape = NodeShape(sockets, cores, threads, arguments.numa, arguments.memory)
    extra = {path: Path(file) for file, _, path in (put.partition("=") for put in arguments.put)}
    began = time.monotonic()

    def progress(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", file=sys.stderr)

    with scratch.directory() as directory:
        try:
            machine = boot(
                "node",
                Path(directory),
                image.build(extra, progress=progress),
                shape,
                accel.choose(),
                tied=True,
                progress=progress,
            )
        except ClusterError as error:
            print(error, file=sys.stderr)
            return 2
        progress(f"ready; files in {directory}, ssh: {' '.join(machine.commands.ssh())}")
        try:
            terminal = [] if arguments.command else ["-t"]
            return subprocess.run(
                [*machine.commands.ssh(*terminal), *arguments.command], check=False
            ).returncode
        finally:
            machine.stop()


if __name__ == "__main__":
    sys.exit(main())
