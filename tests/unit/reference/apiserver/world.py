"""An API server with nothing behind it, for tests that speak to it over HTTP."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from clusters.reference.apiserver.backends import Cause, InvalidError
from clusters.reference.apiserver.resources import NAMESPACE, NODE, POD, VMI, ResourceType, served
from clusters.reference.apiserver.server import ApiServer
from clusters.reference.apiserver.store import Object, Store
from clusters.reference.namespace_controller import NamespaceController, with_defaults
from clusters.reference.reconciling import Health
from clusters.reference.virt_api import read

Result = TypeVar("Result")


class FakeSession:
    """A command that echoes what it is told, or does what its name says."""

    def __init__(self, command: Sequence[str], *, tty: bool) -> None:
        self.command = tuple(command)
        self.tty = tty
        self.size: tuple[int, int] | None = None
        self.killed = asyncio.Event()
        self.stdin: asyncio.Queue[bytes] = asyncio.Queue()

    async def write(self, data: bytes) -> None:
        self.stdin.put_nowait(data)

    async def close_stdin(self) -> None:
        self.stdin.put_nowait(b"")

    async def resize(self, columns: int, rows: int) -> None:
        self.size = (columns, rows)

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        if self.command == ("cat",):
            while data := await self.stdin.get():
                yield "stdout", data
        elif self.command == ("sleep",):
            yield "stdout", b"sleeping\n"
            await self.killed.wait()
        elif self.command == ("size",):
            while self.size is None:
                await asyncio.sleep(0.01)
            yield "stdout", f"{self.size[0]}x{self.size[1]}".encode()
        else:
            yield "stdout", " ".join(self.command).encode() + b"\n"
            yield "stderr", b"complaint\n"

    async def wait(self) -> int:
        return int(self.command[1]) if self.command[0] == "exit" else 0

    async def kill(self) -> None:
        self.killed.set()


class FakePods:
    """Kubelets that know what the tests put into `logs` and `consoles`."""

    def __init__(self) -> None:
        self.logs: dict[tuple[str, str, str], str] = {}
        self.consoles: dict[tuple[str, str], str] = {}
        self.sessions: list[FakeSession] = []

    async def log(self, namespace: str, pod: str, container: str) -> str:
        return self.logs[namespace, pod, container]

    async def execute(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, tty: bool
    ) -> FakeSession:
        if (namespace, pod, container) not in self.logs:
            raise KeyError(container)
        self.sessions.append(FakeSession(command, tty=tty))
        return self.sessions[-1]

    async def console(self, namespace: str, vmi: str) -> str:
        return self.consoles[namespace, vmi]

    def node_config(self, node: str) -> Object:
        return {"kind": "KubeletConfiguration", "cpuManagerPolicy": {"node-1": "static"}[node]}


class FakeAdmission:
    """Refuses VMIs that cannot be read, or isolate the emulator thread of shared CPUs."""

    def admit(self, type_: ResourceType, obj: Object, old: Object | None) -> Object:
        if type_ is NAMESPACE and old is None:
            return with_defaults(obj)
        if type_ is VMI:
            obj = read(obj)
        cpu = obj.get("spec", {}).get("domain", {}).get("cpu", {}) if type_ is VMI else {}
        if cpu.get("isolateEmulatorThread") and not cpu.get("dedicatedCpuPlacement"):
            field = "spec.domain.cpu.isolateEmulatorThread"
            message = "should be only set in combination with DedicatedCPUPlacement"
            raise InvalidError(
                f"admission webhook denied the request: {message}",
                [Cause("FieldValueInvalid", message, field)],
            )
        return obj


@dataclass(frozen=True)
class Reply:
    """What the server answered."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def causes(self) -> list[tuple[str, str, str]]:
        """Reason, field and message of each cause of a refusal."""
        return [
            (cause.get("reason", ""), cause.get("field", ""), cause["message"])
            for cause in self.json["details"].get("causes", ())
        ]


class World:
    """A running server; its loop runs in a thread of its own."""

    def __init__(self, directory: Path, profile: str = "v1") -> None:
        self.store = Store()
        self.pods = FakePods()
        self.server = ApiServer(
            self.store, admission=FakeAdmission(), pods=self.pods, types=served(profile)
        )
        self.config = directory / "kubeconfig"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._namespaces = NamespaceController(self.store, Health())

    @contextmanager
    def running(self) -> Iterator[World]:
        self._thread.start()
        try:
            self.wait(self._start())
            yield self
        finally:
            self.wait(self._namespaces.stop())
            self.wait(self.server.stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def wait(self, work: Awaitable[Result]) -> Result:
        """Runs a coroutine in the server's loop."""

        async def run() -> Result:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout=30)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        token: str | None = None,
    ) -> Reply:
        """One plain HTTP request; a body that is no text is sent as JSON."""
        headers = {"Accept": accept, "Content-Type": content_type}
        token = self.server.token if token is None else token
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = body if body is None or isinstance(body, str | bytes) else json.dumps(body)
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.server.port, context=self.trust(), timeout=30
        )
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read().decode())
        finally:
            connection.close()

    def trust(self) -> ssl.SSLContext:
        """What a client that trusts the kubeconfig's authority verifies with."""
        cluster = yaml.safe_load(self.config.read_text())["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return ssl.create_default_context(cadata=authority)

    def do(self, work: Callable[[], Result]) -> Result:
        """Calls something in the server's loop, such as a method of the store."""

        async def run() -> Result:
            return work()

        return self.wait(run())

    def mutate(self, type_: ResourceType, name: str, namespace: str, **status: Any) -> None:
        """Sets fields of an object's status, as a component would."""

        def change(obj: Object) -> None:
            obj.setdefault("status", {}).update(status)

        self.do(lambda: self.store.mutate(type_, name, namespace, change))

    def run_pod(self, pod: Object, log: str = "") -> None:
        """Adds a pod as if a kubelet had started it; every container has printed `log`."""
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self.do(lambda: self.store.create(POD, pod))
        for container in pod["spec"]["containers"]:
            self.pods.logs[namespace, name, container["name"]] = log

    def add_node(self) -> None:
        """A ready node-1; to be called in the server's loop."""
        self.store.create(
            NODE,
            {
                "metadata": {
                    "name": "node-1",
                    "labels": {"node-role.kubernetes.io/worker": "", "cpumanager": "true"},
                },
                "spec": {},
                "status": {
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "addresses": [{"type": "InternalIP", "address": "10.1.1.1"}],
                    "capacity": {"cpu": "12"},
                    "nodeInfo": {
                        "kubeletVersion": "v1.32.4",
                        "osImage": "Debian",
                        "kernelVersion": "6.12",
                        "containerRuntimeVersion": "crun://1.2",
                    },
                },
            },
        )

    def settle(self, is_done: Callable[[], bool]) -> None:
        """Waits until controllers have done their part."""
        deadline = time.monotonic() + 20
        while not is_done():
            assert time.monotonic() < deadline, "it never came to this"
            time.sleep(0.02)

    async def _start(self) -> None:
        for name in ("default", "kube-system", "kubevirt"):
            self.store.create(NAMESPACE, with_defaults({"metadata": {"name": name}}))
        await self._namespaces.start()
        await self.server.start()
        self.server.kubeconfig(self.config)


def vmi(name: str, **cpu: Any) -> Object:
    """A small VMI."""
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": name},
        "spec": {
            "domain": {
                "cpu": cpu,
                "devices": {},
                "resources": {"limits": {"memory": "64Mi"}},
            }
        },
    }


def running_pod(name: str, *containers: str, namespace: str = "default") -> Object:
    """A pod that runs on node-1."""
    names = containers or ("main",)
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "nodeName": "node-1",
            "terminationGracePeriodSeconds": 30,
            "containers": [{"name": entry, "image": "none"} for entry in names],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.7",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {
                    "name": entry,
                    "image": "none",
                    "imageID": "none",
                    "ready": True,
                    "restartCount": 0,
                    "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
                }
                for entry in names
            ],
        },
    }
