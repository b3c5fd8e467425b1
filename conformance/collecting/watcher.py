"""Watches nodes while a run lasts: what their samplers print goes into the evidence.

A file of the evidence for each node, ``watch/NODE.log``, has the lines of
`clusters.kit.sampler` as they came. What this process knows is added: ``= T WORD`` becomes
``= T SENT RECEIVED``, its own clock in milliseconds since 1970, which tells what time it was on the
node; and ``! TIME WHY`` says why a sampler has ended. Nothing here costs a run its verdict: what
was not watched is judged by its snapshots alone.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from clusters.contract.access import AccessError, ClusterAccess, NodeShell, Sampling
from clusters.kit import sampler
from conformance.collecting.node import KUBELET, USUAL_ROOTS
from conformance.collecting.watches import STOPPED, appended, file_of, milliseconds
from conformance.parsing import cgroups
from conformance.parsing.cgroups import MOUNT
from conformance.settling import Beat, Pace

LARGEST_BYTES = 32 * 2**20
"""Of what one node prints in a run; a quiet minute takes 300 bytes."""
_ASKED = "asked"
_TRIES = 5
"""How often a sampler is started that ends by itself."""
_LAST_SECONDS = 5.0


class Watcher:
    """Watches the nodes of a cluster until it is stopped.

    Args:
        access: to the cluster; closed then.
        evidence: where it writes.
    """

    def __init__(self, access: ClusterAccess, evidence: Path) -> None:
        self._access = access
        self._nodes = [
            _Node(name, partial(access.node_shell, name), access.kubelet_root, evidence)
            for name in access.nodes
        ]
        self._stopped = threading.Event()
        self._talking = threading.Thread(target=self._talk, name="watcher", daemon=True)

    def start(self) -> None:
        """Begins; what cannot be watched says so in its file."""
        for node in self._nodes:
            node.start()
        self._talking.start()

    def stop(self) -> Mapping[str, int]:
        """Ends; returns the size of what was written, by node."""
        self._stopped.set()
        for node in self._nodes:
            node.stop()
        self._talking.join(_LAST_SECONDS)
        self._access.close()
        return {node.name: node.written for node in self._nodes}

    def _talk(self) -> None:
        beat, rounds = Beat(sampler.TICK_SECONDS), 0
        while not self._stopped.is_set():
            for node in self._nodes:
                if rounds % round(node.talk_seconds / sampler.TICK_SECONDS) == 0:
                    node.say()
            rounds += 1
            beat.wait()


class _Node:
    def __init__(
        self, name: str, shell: Callable[[], NodeShell], kubelet_root: str, evidence: Path
    ) -> None:
        self.name = name
        self.written = 0
        self.talk_seconds = sampler.TALK_SECONDS
        self._asked = False
        self._shell = shell
        self._checkpoint = f"{kubelet_root}/{KUBELET[0]}"
        self._path = evidence / file_of(name)
        self._sampling: Sampling | None = None
        self._said: set[str] = set()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"watch {name}", daemon=True)

    def start(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._thread.start()

    def say(self) -> None:
        if self._sampling is not None:
            word = str(milliseconds())
            self._said.add(word)
            self._sampling.say(word)

    def stop(self) -> None:
        self._ended = True
        if self._sampling is not None:
            self._sampling.close()
        if self._thread.is_alive():
            self._thread.join(_LAST_SECONDS)

    def _run(self) -> None:
        pace = Pace()
        with contextlib.suppress(OSError), appended(self._path) as log:

            def write(line: str) -> None:
                data = f"{line}\n".encode("utf-8", "backslashreplace")
                log.write(data)
                self.written += len(data)
                if line.startswith(("=", "!")):
                    log.flush()

            for _ in range(_TRIES):
                if self._ended or self.written >= LARGEST_BYTES:
                    break
                pace.next_round()
                why = "it ended"
                try:
                    for line in self._lines():
                        write(line)
                        if self.written >= LARGEST_BYTES:
                            why = "it printed too much"
                            break
                except AccessError as error:
                    why = str(error).replace("\n", " ")[:500]
                if self._sampling is not None:
                    self._sampling.close()
                write(f"! {milliseconds()} {STOPPED if self._ended else why}")

    def _lines(self) -> Iterator[str]:
        """Raises AccessError."""
        shell = self._shell()
        found = [path[len(MOUNT) :] for path in shell.list(_ROOTS)]
        own = {path for path in found if (at := cgroups.place(path)) and at.root == path}
        first = sampler.first_words(self._checkpoint, sorted(own or USUAL_ROOTS))
        self._said.clear()
        self._sampling = sampling = shell.sample(first)
        if self._ended:
            sampling.close()
        for line in sampling.lines():
            if line.startswith("n ") and line[2:6].isdecimal():
                pause = min(max(int(line[2:6]), 10), 100) / 100
                if self._asked:
                    self.talk_seconds = pause
                else:
                    sampling.say(f"t{pause:.2f}")
            elif line.startswith("w "):
                self._asked = line.endswith(f" {_ASKED}")
                self.talk_seconds = sampler.TICK_SECONDS if self._asked else sampler.TALK_SECONDS
                yield line
            elif not line.startswith("= "):
                yield line
            else:
                # A shell that waited no longer may have read half a word.
                kind, _, word = line.rpartition(" ")
                if word in self._said:
                    yield f"{kind} {word} {milliseconds()}"
                    self._said.discard(word)


_ROOTS = tuple(f"{MOUNT}{'/*' * depth}/*kubepods*" for depth in range(4))
