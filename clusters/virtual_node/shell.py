"""A shell on a virtual node: run, read, write, forward; from any process of this host.

All of it goes through one OpenSSH connection (ControlMaster) that is opened when the node
has booted, so that a command costs one fork on the node and no handshake.

The node's CPUs are slow and each fork is dear. Its ``sh`` is busybox, which runs ``cat``,
``printf``, ``mkdir``, ``rm`` and the like without a fork: one script of a hundred such lines
costs little more than one command. Pipes and ``$(...)`` do fork.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clusters.contract.access import AccessError, Reading
from clusters.kit import sampler
from clusters.kit.sampling import PipedSampling, piped

CONTROL_SOCKET = "ssh"
PROXY_TROUBLE = re.compile(
    r"^(ssh: |mux_client|muxclient|Control socket|kex_exchange|Connection |client_loop|"
    r"Received disconnect|Read from remote|Host key verification|Timeout, server)",
    re.MULTILINE,
)

CAT = "/usr/lib/virtual-node/cat"
"""GNU's, which names the file in every error."""
MARK = "/run/virtual-node.mark"
"""A file of the node with `MARK_BYTES` random characters."""
MARK_BYTES = 32

LONGEST_ARGUMENT = 100_000
"""Characters of a script that fit into one argument of a process (MAX_ARG_STRLEN, 128 KiB)."""

NOT_THERE = frozenset({"No such file or directory", "No such process", "Is a directory"})
"""Why nothing is said about a path: it vanished, never was, or is no file."""


class CommandError(AccessError):
    """A command on the node ended with another status than 0."""


@dataclass(frozen=True)
class Done:
    """A command that has ended.

    Attributes:
        returncode: its exit status; 128 plus the signal when one ended it.
        stdout: what it wrote, as bytes.
        stderr: as text.
    """

    returncode: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """Its standard output as text."""
        return decode(self.stdout)


def decode(data: bytes) -> str:
    """UTF-8; any other byte is shown as ``\\xNN``."""
    return data.decode(errors="backslashreplace")


@dataclass(frozen=True)
class Commands:
    """Builds what is run here to run something there. Does no I/O itself.

    Attributes:
        node: names the node in messages.
        control_path: the ControlMaster's socket.
        identity_file: private key.
        known_hosts: with the node's key under ``virtual-node``.
        port: of sshd, on this host's loopback.
    """

    node: str
    control_path: str
    identity_file: str
    known_hosts: str
    port: int

    def ssh(self, *options: str) -> list[str]:
        """The ssh command line up to the destination, these options among it."""
        return [
            "ssh",
            *("-F", "none"),
            *("-S", self.control_path),
            *("-i", self.identity_file),
            *("-p", str(self.port)),
            *("-o", "IdentitiesOnly=yes"),
            *("-o", "BatchMode=yes"),
            *("-o", f"UserKnownHostsFile={self.known_hosts}"),
            *("-o", "HostKeyAlias=virtual-node"),
            *("-o", "StrictHostKeyChecking=yes"),
            *("-o", "LogLevel=ERROR"),
            # A node that has stopped altogether is given up after four minutes.
            *("-o", "ServerAliveInterval=30", "-o", "ServerAliveCountMax=8"),
            *options,
            "root@127.0.0.1",
        ]

    def run(self, command: str | Sequence[str]) -> list[str]:
        """Runs a script, or a command given as its arguments."""
        return [*self.ssh("-T"), command if isinstance(command, str) else shlex.join(command)]

    def done(
        self, command: str | Sequence[str], returncode: int, out: bytes, err: bytes, *, check: bool
    ) -> Done:
        """Judges what ssh returned. Raises AccessError, CommandError when checked."""
        errors = decode(err)
        if returncode == 255 and PROXY_TROUBLE.search(errors):
            raise AccessError(f"node {self.node} does not answer: {errors.strip()}")
        if check and returncode:
            shown = command if isinstance(command, str) else shlex.join(command)
            raise CommandError(
                f"on node {self.node}, `{_shortened(shown)}` ended with {returncode}: "
                f"{_shortened(errors.strip() or decode(out).strip())}"
            )
        return Done(returncode, out, errors)


def _shortened(text: str, limit: int = 500) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."


def globs(patterns: Sequence[str]) -> str:
    """The patterns as words of a script: ``*``, ``?``, ``[...]`` live, all else quoted."""
    for pattern in patterns:
        if not pattern.startswith("/") or "\n" in pattern or "\0" in pattern:
            raise ValueError(f"not an absolute path or glob: {pattern!r}")
    return " ".join(re.sub(r"([^\w/.*?\[\]!^,:@%+=-])", r"\\\1", pattern) for pattern in patterns)


def read_script(patterns: Sequence[str]) -> str:
    """A script that writes all matching files by one ``cat``: its start is what costs.

    A file of the node with random content stands between the files as a separator that none
    of them can contain. The output is the paths, each NUL-terminated, one NUL, the
    separator, and then the files, each followed by the separator.
    """
    return (
        f"set -- {globs(patterns)}; printf '%s\\0' \"$@\" ''; "
        # Words are split at a character that no path has.
        f"IFS='\036'; set -f; exec {CAT} {MARK} $(printf '%s\\036{MARK}\\036' \"$@\")"
    )


def parse_read(output: bytes, errors: str) -> Reading:
    """Reads what `read_script` wrote; raises AccessError when it did not end well."""
    listed, _, rest = output.partition(b"\0\0")
    mark = rest[:MARK_BYTES]
    paths = decode(listed).split("\0")
    contents = rest[MARK_BYTES:].split(mark) if len(mark) == MARK_BYTES else []
    if len(contents) != len(paths) + 1 or contents[-1]:
        raise AccessError(f"files could not be read, the answer breaks off: {errors.strip()}")
    failed = {}
    for line in errors.splitlines():
        # Debian 12's names itself by its path, Debian 13's by its name.
        subject, _, reason = line.removeprefix(f"{CAT}: ").removeprefix("cat: ").rpartition(": ")
        failed[subject.strip("'")] = reason
    files = {
        path: decode(content)
        for path, content in zip(paths, contents, strict=False)
        if path not in failed
    }
    return Reading(files, {path: why for path, why in failed.items() if why not in NOT_THERE})


def carried(script: str) -> tuple[str, bytes]:
    """The command and the standard input that carry a script which reads none itself."""
    return (script, b"") if len(script) < LONGEST_ARGUMENT else ("sh", script.encode())


def list_script(patterns: Sequence[str]) -> str:
    """A script that writes each matching path, NUL-terminated."""
    return (
        f'for f in {globs(patterns)}; do [ -e "$f" -o -L "$f" ] && printf "%s\\0" "$f"; done; true'
    )


def write_script(path: str) -> str:
    """A script that writes its standard input into a file, in one write where it is short."""
    return f"cat >{shlex.quote(path)}"


class Shell:
    """A node's shell for synchronous callers; a `clusters.contract.access.NodeShell`.

    Args:
        commands: how to reach the node.
    """

    def __init__(self, commands: Commands) -> None:
        self.commands = commands

    def run(
        self,
        command: str | Sequence[str],
        *,
        stdin: bytes = b"",
        check: bool = True,
        timeout_seconds: float | None = None,
    ) -> Done:
        """Runs a script (str) or a command (list of arguments) to its end.

        Raises:
            CommandError: it ended with another status than 0 and `check` is set.
            AccessError: the node does not answer, or not in time.
        """
        try:
            ended = subprocess.run(
                self.commands.run(command),
                input=stdin,
                capture_output=True,
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise _late(self.commands, command, timeout_seconds) from None
        return self.commands.done(
            command, ended.returncode, ended.stdout, ended.stderr, check=check
        )

    def read(self, patterns: Sequence[str]) -> Reading:
        """As `clusters.contract.access.NodeShell.read`."""
        command, stdin = carried(read_script(patterns))
        done = self.run(command, stdin=stdin, check=False)
        return parse_read(done.stdout, done.stderr)

    def list(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """As `clusters.contract.access.NodeShell.list`."""
        command, stdin = carried(list_script(patterns))
        return tuple(sorted(self.run(command, stdin=stdin).text.split("\0")[:-1]))

    def sample(self, first: str) -> PipedSampling:
        """As `clusters.contract.access.NodeShell.sample`."""
        words = self.commands.run(sampler.command(share=sampler.EMULATED_SHARE))
        sampling = piped(words, f"the sampler of node {self.commands.node}")
        sampling.say(first)
        return sampling

    def write(self, path: str, data: bytes) -> None:
        """Writes a file, also one of /proc or /sys. Raises CommandError when it is refused."""
        self.run(write_script(path), stdin=data)

    def spawn(
        self, command: str | Sequence[str], *, stdin: bool = False
    ) -> subprocess.Popen[bytes]:
        """Starts a command whose output is read while it runs."""
        return subprocess.Popen(
            self.commands.run(command),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    @contextlib.contextmanager
    def forward(self, local: Path, remote: str) -> Iterator[None]:
        """While it lasts, a unix socket of this host leads to one of the node.

        Raises:
            AccessError: the node does not answer, or the local path is taken or too long.
        """
        forwarding = f"{local}:{remote}"
        self._control("forward", "-L", forwarding)
        try:
            yield
        finally:
            with contextlib.suppress(AccessError):
                self._control("cancel", "-L", forwarding)
            local.unlink(missing_ok=True)

    def reverse(self, address: str, remote: int, local: int) -> None:
        """From now on a port of the node leads to one of this host's loopback.

        Args:
            address: which the node has; one of its loopback, unless its sshd was told to listen
                where it is asked to.
            remote: port of the node.
            local: port of this host.

        Raises:
            AccessError: the node does not answer, or that port of it is taken.
        """
        self._control("forward", "-R", f"{address}:{remote}:127.0.0.1:{local}")

    def _control(self, request: str, *options: str) -> None:
        command = self.commands.ssh("-O", request, *options)
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise AccessError(
                f"node {self.commands.node}: ssh -O {request} {' '.join(options)} "
                f"failed: {ended.stderr.strip()}"
            )


class AsyncShell:
    """The same for asyncio; each method as its namesake in `Shell`."""

    def __init__(self, commands: Commands) -> None:
        self.commands = commands

    async def run(
        self,
        command: str | Sequence[str],
        *,
        stdin: bytes = b"",
        check: bool = True,
        timeout_seconds: float | None = None,
    ) -> Done:
        """As `Shell.run`; the ssh client is killed when the caller is cancelled."""
        process = await asyncio.create_subprocess_exec(
            *self.commands.run(command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(timeout_seconds):
                out, err = await process.communicate(stdin)
        except TimeoutError:
            raise _late(self.commands, command, timeout_seconds) from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        assert process.returncode is not None
        return self.commands.done(command, process.returncode, out, err, check=check)

    async def read(self, patterns: Sequence[str]) -> Reading:
        """As `Shell.read`."""
        command, stdin = carried(read_script(patterns))
        done = await self.run(command, stdin=stdin, check=False)
        return parse_read(done.stdout, done.stderr)

    async def list(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """As `Shell.list`."""
        command, stdin = carried(list_script(patterns))
        done = await self.run(command, stdin=stdin)
        return tuple(sorted(done.text.split("\0")[:-1]))

    async def write(self, path: str, data: bytes) -> None:
        """As `Shell.write`."""
        await self.run(write_script(path), stdin=data)

    async def spawn(
        self, command: str | Sequence[str], *, stdin: bool = False
    ) -> asyncio.subprocess.Process:
        """As `Shell.spawn`."""
        return await asyncio.create_subprocess_exec(
            *self.commands.run(command),
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )


def _late(
    commands: Commands, command: str | Sequence[str], timeout_seconds: float | None
) -> AccessError:
    shown = command if isinstance(command, str) else shlex.join(command)
    return AccessError(
        f"node {commands.node}: `{_shortened(shown)}` took longer than {timeout_seconds} s"
    )


_numbers = itertools.count()


@contextlib.contextmanager
def forwarded(shell: Shell, remote: str, directory: Path) -> Iterator[Path]:
    """While it lasts, a socket in the directory leads to one of the node.

    Args:
        shell: of the node.
        remote: the socket, as the node sees it.
        directory: of this process alone; its path is short, as a socket's must be.
    """
    local = directory / f"forwarded-{next(_numbers)}"
    with shell.forward(local, remote):
        yield local
