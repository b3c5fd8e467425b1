"""What looking costs a cluster: counted, and held below a pace."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clusters.contract.access import NodeFiles, Reading
from clusters.kit.api import Api, Appended
from conformance.settling import Turnstile, persistently


@dataclass(frozen=True)
class Cost:
    """What was asked of a cluster.

    Attributes:
        requests: of the API server, commands included.
        commands: in virt-handler, or whatever shows the files of nodes; most: of one node.
        launchers: commands in launchers of VMIs, which run on their guests' CPUs.
        megabytes: of node files.
    """

    requests: int = 0
    commands: int = 0
    most: int = 0
    launchers: int = 0
    megabytes: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        inside = (
            f"{self.launchers} in launchers, on CPUs of their guests"
            if self.launchers
            else "none in launchers"
        )
        return (
            f"{self.requests} requests of the API server in {self.seconds:.0f} s; of them "
            f"{self.commands} commands that read files of nodes ({self.most} on one node at most, "
            f"{self.megabytes:.0f} MB together), {inside}; nothing was written"
        )


class Meter:
    """Counts, for all threads of one audit."""

    def __init__(self, rate: float) -> None:
        """A meter that has counted nothing; `rate` is requests a second at the most."""
        self._turnstile = Turnstile(rate)
        self._lock = threading.Lock()
        self._requests = 0
        self._launchers = 0
        self._bytes = 0
        self._commands: Counter[str] = Counter()
        self._began = time.monotonic()

    def request(self) -> None:
        """Returns when one more request may be sent."""
        self._turnstile.wait()
        with self._lock:
            self._requests += 1

    def command(self, node: str) -> None:
        """As `request`, for a command that reads files of a node."""
        self.request()
        with self._lock:
            self._commands[node] += 1

    def launcher(self, commands: int) -> None:
        """As `request`, for commands in a launcher."""
        for _ in range(commands):
            self.request()
        with self._lock:
            self._launchers += commands

    def read(self, reading: Reading) -> Reading:
        """Counts what came."""
        with self._lock:
            self._bytes += sum(map(len, reading.files.values()))
        return reading

    @property
    def cost(self) -> Cost:
        """So far."""
        return Cost(
            self._requests,
            self._commands.total(),
            max(self._commands.values(), default=0),
            self._launchers,
            self._bytes / 1e6,
            time.monotonic() - self._began,
        )

    def recorded(self) -> Mapping[str, float]:
        """For ``run.json``."""
        return asdict(self.cost)


class MeteredShell:
    """`NodeFiles` that are counted."""

    def __init__(self, shell: NodeFiles, node: str, meter: Meter) -> None:
        self._shell, self._node, self._meter = shell, node, meter

    def read(self, patterns: Sequence[str]) -> Reading:
        """As `NodeFiles.read`."""
        self._meter.command(self._node)
        return self._meter.read(self._shell.read(patterns))

    def list(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """As `NodeFiles.list`."""
        self._meter.command(self._node)
        return self._shell.list(patterns)


class MeteredApi(Api):
    """An `Api` that asks nothing but questions, each of which is counted.

    What would change anything is refused before it is sent.
    """

    def __init__(self, kubeconfig: str, meter: Meter, *, faults: Appended) -> None:
        super().__init__(kubeconfig, retry=persistently, faults=faults)
        self._meter = meter

    def _send(self, method: str, *rest: Any, **more: Any) -> Any:
        if method != "GET":
            raise ValueError(f"an audit asks and changes nothing: {method} is not sent")
        self._meter.request()
        return super()._send(method, *rest, **more)
