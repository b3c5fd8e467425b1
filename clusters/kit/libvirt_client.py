"""libvirt-python to a launcher's daemon, over a forwarded socket. Every call may block.

A connection is kept alive, so that one whose node has died fails instead of hanging. For
this libvirt wants an event loop; one thread of the process runs it for all connections.

libvirt-python is compiled where it is installed, and only those need it who ask a socket: it is
loaded with the first connection.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from clusters.contract.access import AccessError, LibvirtView

KEEPALIVE_SECONDS = 10
KEEPALIVE_MISSED = 6
"""How long a node may be silent: under emulation a busy one answers late."""

DomainEnd = Callable[[str, str], None]
"""Is told the name of a domain that ended and why."""


class LibvirtConnection:
    """A connection to one launcher's libvirt.

    Args:
        socket: a socket of this host that leads to it.
        mode: ``system``, or ``session`` for a libvirt that does not run as root.
        on_domain_end: called from another thread.
        on_lost: called from another thread when the connection has broken.
    """

    def __init__(
        self,
        socket: Path,
        *,
        mode: str = "system",
        on_domain_end: DomainEnd | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self._libvirt = _library()
        self.uri = f"qemu+unix:///{mode}?socket={socket}"
        with _translated(f"libvirt at {socket} does not answer"):
            self._connection = self._libvirt.open(self.uri)
            self._connection.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_MISSED)
        self._event: int | None = None
        if on_lost is not None:
            self._connection.registerCloseCallback(lambda *_: on_lost(), None)
        if on_domain_end is not None:
            with _translated("libvirt does not tell the ends of domains"):
                self._event = self._connection.domainEventRegisterAny(
                    None,
                    self._libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                    functools.partial(_lifecycle, on_domain_end),
                    None,
                )

    def create(self, xml: str) -> None:
        """Starts a transient domain. Raises AccessError with libvirt's reason."""
        with _translated("libvirt refuses the domain"):
            self._connection.createXML(xml, 0)

    def destroy(self, domain: str) -> None:
        """Ends the domain at once; one that is not there is fine."""
        try:
            self._connection.lookupByName(domain).destroy()
        except self._libvirt.libvirtError as error:
            library = self._libvirt
            missing = (library.VIR_ERR_NO_DOMAIN, library.VIR_ERR_OPERATION_INVALID)
            if error.get_error_code() not in missing:
                raise AccessError(f"domain {domain} cannot be destroyed: {error}") from error

    def reset(self, domain: str) -> None:
        """Resets the guest. Raises AccessError when there is none."""
        with _translated(f"domain {domain} cannot be reset"):
            self._connection.lookupByName(domain).reset()

    def exists(self, domain: str) -> bool:
        """Whether the domain runs."""
        with _translated("libvirt does not list its domains"):
            return domain in {found.name() for found in self._connection.listAllDomains()}

    def view(self, domain: str) -> LibvirtView:
        """Everything about the pins of a domain. Raises AccessError when there is none."""
        with _translated(f"libvirt says nothing of domain {domain}"):
            found = self._connection.lookupByName(domain)
            live = self._libvirt.VIR_DOMAIN_AFFECT_LIVE
            vcpu_pins = found.vcpuPinInfo(live)
            iothreads = found.ioThreadInfo(live)
            return LibvirtView(
                xml=found.XMLDesc(0),
                vcpu_pins={number: _cpus(pin) for number, pin in enumerate(vcpu_pins)},
                emulator_pin=_cpus(found.emulatorPinInfo(live)),
                iothread_pins={number: _cpus(pin) for number, pin in iothreads},
                source=f"libvirt-python {self.uri}",
                versions=self._versions(),
            )

    def _versions(self) -> str:
        """Nothing is judged by them: a libvirt that does not tell is none the worse."""
        with contextlib.suppress(self._libvirt.libvirtError):
            numbers = self._connection.getLibVersion(), self._connection.getVersion()
            return "libvirt {}, QEMU {}".format(*map(_version, numbers))
        return ""

    def close(self) -> None:
        """Closes the connection; safe when it has broken."""
        with contextlib.suppress(self._libvirt.libvirtError):
            if self._event is not None:
                self._connection.domainEventDeregisterAny(self._event)
        with contextlib.suppress(self._libvirt.libvirtError):
            self._connection.unregisterCloseCallback()
        with contextlib.suppress(self._libvirt.libvirtError):
            self._connection.close()


def ask(socket: Path, domain: str, mode: str = "system") -> LibvirtView:
    """Asks the libvirt of a launcher once.

    Args:
        socket: a socket of this host that leads to it.
        domain: the guest's.
        mode: as that of `LibvirtConnection`.

    Raises:
        AccessError: there is no such domain, or libvirt does not answer.
    """
    connection = LibvirtConnection(socket, mode=mode)
    try:
        return connection.view(domain)
    finally:
        connection.close()


def ask_any(socket: Path, domain: str) -> LibvirtView:
    """As `ask`, of a launcher of any release.

    One that is not root serves only sessions, one of an older release only the system; each
    refuses the other's name.
    """
    try:
        return ask(socket, domain, "session")
    except AccessError:
        return ask(socket, domain)


def _lifecycle(
    tell: DomainEnd, _connection: Any, domain: Any, event: int, detail: int, _opaque: Any
) -> None:
    library = _library()
    reasons = {
        library.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: "shutdown",
        library.VIR_DOMAIN_EVENT_STOPPED_DESTROYED: "destroyed",
        library.VIR_DOMAIN_EVENT_STOPPED_CRASHED: "crashed",
        library.VIR_DOMAIN_EVENT_STOPPED_FAILED: "failed",
    }
    if event == library.VIR_DOMAIN_EVENT_STOPPED:
        tell(domain.name(), reasons.get(detail, f"stopped ({detail})"))


def _version(number: int) -> str:
    """libvirt packs a version into one number (virConnectGetLibVersion)."""
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"


def _cpus(flags: Any) -> frozenset[int]:
    return frozenset(number for number, flag in enumerate(flags) if flag)


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except _library().libvirtError as error:
        raise AccessError(f"{what}: {error}") from error


@functools.cache
def _library() -> ModuleType:
    """libvirt-python, silent, with the process's only thread for its events.

    Raises AccessError when it is not installed.
    """
    try:
        libvirt = importlib.import_module("libvirt")
    except ImportError as error:
        raise AccessError(f"the Python package libvirt-python cannot be used: {error}") from None
    libvirt.registerErrorHandler(lambda *_: None, None)
    libvirt.virEventRegisterDefaultImpl()

    def run() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=run, daemon=True, name="libvirt events").start()
    return libvirt
