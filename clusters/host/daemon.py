"""A cluster that is one background process of this host.

The embedded, the simulated and the virtual cluster are. The starter spawns ``python -m MODULE
DIRECTORY``; the process reports through a pipe what it waits for and then that it is
ready, and afterwards lives until it is stopped or, unless it is detached, until its
starter ends, even by SIGKILL.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any, Protocol

import clusters
from clusters.contract.hardware import Cpu, Hardware, NumaNode
from clusters.contract.provider import ClusterError, Handle, Progress
from clusters.contract.shape import (
    ClusterSpec,
    CpuManager,
    NodeShape,
    NodeSpec,
    TopologyManager,
)
from clusters.host import processes, rundir

LOG = "cluster.log"
REQUEST = "request.json"
STOP_GRACE_SECONDS = 20.0


def dump_spec(spec: ClusterSpec) -> str:
    """A ClusterSpec as JSON text."""
    return json.dumps(asdict(spec), default=sorted)


def load_spec(text: str) -> ClusterSpec:
    """Reads what `dump_spec` wrote."""
    data = json.loads(text)
    return ClusterSpec(**{**data, "nodes": tuple(map(_node, data["nodes"]))})


def _node(node: Mapping[str, Any]) -> NodeSpec:
    manager = node["cpu_manager"]
    return NodeSpec(
        node["name"],
        _shape(node["shape"]),
        CpuManager(
            manager["policy"], frozenset(manager["reserved"]), frozenset(manager["options"])
        ),
        TopologyManager(**node["topology_manager"]),
        node["memory_manager_policy"],
    )


def _shape(shape: Mapping[str, Any]) -> NodeShape | Hardware:
    if "numa" not in shape:
        return NodeShape(**shape)
    return Hardware(
        tuple(Cpu(**cpu) for cpu in shape["cpus"]),
        tuple(NumaNode(n["id"], n["memory_mib"], tuple(n["distances"])) for n in shape["numa"]),
    )


def start(
    module: str,
    provider: str,
    name: str,
    spec: ClusterSpec,
    directory: Path,
    *,
    progress: Progress,
    detached: bool,
) -> Handle:
    """Spawns the cluster's process and returns its handle when it is ready.

    Raises ClusterError with the process's own words when it fails, and leaves nothing.
    """
    (directory / REQUEST).write_text(dump_spec(spec))
    read_end, write_end = os.pipe()
    process: subprocess.Popen[bytes] | None = None
    command = [sys.executable, "-m", module, str(directory), "--pipe", str(write_end)]
    if not detached:
        command += ["--die-with", str(os.getpid())]
    root = str(Path(clusters.__file__).parents[1])
    search = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        with (directory / LOG).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[write_end],
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": search},
            )
        os.close(write_end)
        identity = processes.identity(process.pid)
        handle = Handle(
            provider=provider,
            name=name,
            directory=str(directory),
            kubeconfig=str(directory / "kubeconfig"),
            details={"process": identity},
        )
        # Written before the cluster is ready, so that it is found even if this process is killed.
        rundir.write_handle(directory, handle)
        details = _await_ready(os.fdopen(read_end), progress)
    except BaseException as error:
        if process is not None:
            processes.stop(processes.identity(process.pid), grace_seconds=STOP_GRACE_SECONDS)
            process.wait()
        if isinstance(error, EOFError):
            tail = "\n".join((directory / LOG).read_text(errors="replace").splitlines()[-15:])
            raise ClusterError(f"the process of the {provider} cluster ended:\n{tail}") from None
        raise
    handle = replace(handle, details={**details, "process": identity})
    rundir.write_handle(directory, handle)
    return handle


def _await_ready(pipe: IO[str], progress: Progress) -> Mapping[str, str]:
    with pipe:
        for line in pipe:
            message = json.loads(line)
            if "ready" in message:
                ready: dict[str, str] = message["ready"]
                return ready
            if "error" in message:
                raise ClusterError(message["error"])
            progress(message["progress"])
    raise EOFError


def alive(handle: Handle) -> str | None:
    """As `Provider.alive`: the process itself; it ends when a node of it dies."""
    if processes.alive(handle.details["process"]):
        return None
    failure = Path(handle.directory) / "failure"
    said = failure.read_text().strip() if failure.exists() else "its process has ended"
    return f"the {handle.provider} cluster {handle.name} is dead: {said}"


def stop(handle: Handle) -> None:
    """As `Provider.down`."""
    processes.stop(handle.details["process"], grace_seconds=STOP_GRACE_SECONDS)
    rundir.remove(Path(handle.directory))


Cluster = Callable[[ClusterSpec, Path, Progress], AbstractAsyncContextManager["Running"]]


class Running(Protocol):
    """A cluster inside its own process.

    Attributes:
        details: what goes into the handle.
    """

    details: Mapping[str, str]

    async def failed(self) -> str:
        """Returns, with what has died, when the cluster can go on no longer."""
        ...


def main(cluster: Cluster) -> None:
    """The process's side: brings the cluster up, reports, and serves until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--pipe", type=int, required=True)
    parser.add_argument("--die-with", type=int)
    arguments = parser.parse_args()
    if arguments.die_with:
        processes.die_with(arguments.die_with)
    sys.exit(asyncio.run(_serve(cluster, arguments.directory, arguments.pipe)))


async def _serve(cluster: Cluster, directory: Path, pipe: int) -> int:
    spec = load_spec((directory / REQUEST).read_text())
    stopped = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None
    ready = False

    def on_signal() -> None:
        stopped.set()
        if not ready:
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)

    with os.fdopen(pipe, "w", buffering=1) as messages:

        def say(**message: object) -> None:
            with contextlib.suppress(BrokenPipeError):
                print(json.dumps(message), file=messages, flush=True)

        try:
            async with cluster(spec, directory, lambda line: say(progress=line)) as running:
                ready = True
                say(ready=running.details)
                messages.close()
                return await _until_end(running, stopped, directory)
        except ClusterError as error:
            if not messages.closed:
                say(error=str(error))
            print(error, file=sys.stderr)
            return 1
        except asyncio.CancelledError:
            return 0
        except Exception as error:
            traceback.print_exc()
            if not messages.closed:
                say(error=f"{type(error).__name__}: {error} (see {directory / LOG})")
            return 1


async def _until_end(running: Running, stopped: asyncio.Event, directory: Path) -> int:
    failing = asyncio.ensure_future(running.failed())
    stopping = asyncio.ensure_future(stopped.wait())
    await asyncio.wait({failing, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if stopped.is_set():
        failing.cancel()
        return 0
    reason = failing.result()
    (directory / "failure").write_text(reason + "\n")
    print(reason, file=sys.stderr)
    return 1
