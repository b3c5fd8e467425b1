"""A stand-in for an API server that runs KubeVirt: canned objects, and a real exec channel."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import WSMsgType, web

TOKEN = "secret"
NODE_ROOT = "/proc/1/root"

Command = Callable[[Sequence[str], bytes], tuple[int, bytes, bytes]]


@dataclass
class FakeApi:
    """What the stand-in answers; tests change it.

    Attributes:
        objects: by path. A status (int) instead of an object is a refusal.
        refused: (verb, resource/subresource) that access reviews deny.
        commands: what an exec into a container does, by container name.
        asked: (verb, group, resource) of every request, as RBAC names it.
    """

    directory: Path
    port: int = 0
    objects: dict[str, Any] = field(default_factory=dict)
    refused: set[tuple[str, str]] = field(default_factory=set)
    commands: dict[str, Command] = field(default_factory=dict)
    asked: set[tuple[str, str, str]] = field(default_factory=set)
    exec_refusal: int | None = None
    breaks_off: bool = False

    @property
    def kubeconfig(self) -> str:
        return self.write_kubeconfig(f"http://127.0.0.1:{self.port}", TOKEN)

    def write_kubeconfig(self, server: str, token: str) -> str:
        path = self.directory / "kubeconfig"
        path.write_text(
            yaml.safe_dump(
                {
                    "current-context": "here",
                    "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
                    "clusters": [{"name": "c", "cluster": {"server": server}}],
                    "users": [{"name": "u", "user": {"token": token}}],
                }
            )
        )
        return str(path)

    def node_shell(self, root: Path) -> Command:
        """Runs commands here, with a directory in the place of the node's root."""

        def run(command: Sequence[str], stdin: bytes) -> tuple[int, bytes, bytes]:
            stdin = stdin.replace(NODE_ROOT.encode(), str(root).encode())
            ended = subprocess.run(command, input=stdin, capture_output=True, check=False)
            return (
                ended.returncode,
                ended.stdout.replace(str(root).encode(), NODE_ROOT.encode()),
                ended.stderr,
            )

        return run


def node(name: str = "n1", *, cpu: str = "10", labels: bool = True, **spec: Any) -> dict[str, Any]:
    names = ("kubevirt.io/cpumanager", "kubevirt.io/schedulable")
    return {
        "metadata": {"name": name, "labels": dict.fromkeys(names, "true") if labels else {}},
        "spec": spec,
        "status": {
            "allocatable": {"cpu": cpu},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def handler_pod(node: str = "n1", name: str = "virt-handler-x", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "kubevirt"},
        "spec": {
            "nodeName": node,
            "hostPID": True,
            "containers": [{"name": "virt-handler", "resources": {"requests": {"cpu": "10m"}}}],
            **spec,
        },
        "status": {"phase": "Running"},
    }


def kubevirt_cr(*, gates: Sequence[str] = ("CPUManager", "Sidecar"), **conditions: str) -> Any:
    found = {"Available": "True", "Degraded": "False", **conditions}
    return {
        "metadata": {"name": "kubevirt", "namespace": "kubevirt"},
        "spec": {"configuration": {"developerConfiguration": {"featureGates": list(gates)}}},
        "status": {
            "phase": "Deployed",
            "observedKubeVirtVersion": "v1.9.0",
            "conditions": [
                {"type": type_, "status": status, "message": f"{type_} is {status}"}
                for type_, status in found.items()
            ],
        },
    }


@pytest.fixture
def node_root(tmp_path: Path) -> Path:
    """The files of a node whose kubelet has the static policy."""
    root = tmp_path / "node"
    files = {
        "var/lib/kubelet/cpu_manager_state": '{"policyName":"static"}',
        "sys/devices/system/cpu/online": "0-11\n",
        "sys/devices/system/cpu/cpu0/topology/thread_siblings_list": "0-1\n",
        "sys/devices/system/node/online": "0\n",
        "sys/fs/cgroup/cgroup.controllers": "cpuset cpu\n",
    }
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.fixture
def api(tmp_path: Path, node_root: Path) -> Iterator[FakeApi]:
    """A healthy cluster of one node, n1."""
    fake = FakeApi(tmp_path)
    fake.objects = {
        "/version": {"gitVersion": "v1.36.0"},
        "/api/v1/nodes": {"items": [node()]},
        "/api/v1/pods": {"items": [handler_pod()]},
        "/apis/kubevirt.io/v1/kubevirts": {"items": [kubevirt_cr()]},
    }
    fake.commands["virt-handler"] = fake.node_shell(node_root)
    with _serving(fake):
        yield fake


class _serving:  # noqa: N801
    """Serves from a thread of its own."""

    def __init__(self, fake: FakeApi) -> None:
        self._fake = fake
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._fake.port = self._runner.addresses[0][1]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        fake = self._fake
        if request.headers.get("Authorization") != f"Bearer {TOKEN}" and request.path != "/version":
            return _status(401, "Unauthorized")
        asked = rbac_name(request.method, request.path)
        if asked:
            fake.asked.add(asked)
        if request.path.endswith("/selfsubjectaccessreviews"):
            review = await request.json()
            wanted = review["spec"]["resourceAttributes"]
            resource = "/".join(filter(None, (wanted["resource"], wanted["subresource"])))
            review["status"] = {"allowed": (wanted["verb"], resource) not in fake.refused}
            return web.json_response(review, status=201)
        if request.path.endswith("/exec"):
            if fake.exec_refusal:
                return _status(fake.exec_refusal, "you may not exec")
            return await self._exec(request)
        return _object(fake.objects.get(request.path, 404), request.path)

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        websocket = web.WebSocketResponse(protocols=("v5.channel.k8s.io", "v4.channel.k8s.io"))
        await websocket.prepare(request)
        run = self._fake.commands[request.query["container"]]
        command = request.query.getall("command")
        stdin = b""
        # Nothing tells the end of it; each command here that reads ends with a line's end.
        while request.query["stdin"] == "true" and not stdin.endswith(b"\n"):
            message = await websocket.receive()
            assert message.data[:1] == b"\0"
            stdin += message.data[1:]
        code, stdout, stderr = await asyncio.to_thread(run, command, stdin)
        for channel, data in ((b"\x01", stdout), (b"\x02", stderr)):
            for start in range(0, len(data), 8192):
                await websocket.send_bytes(channel + data[start : start + 8192])
        if not self._fake.breaks_off:
            status: dict[str, Any] = {"status": "Success"}
            if code == 127:
                status = {"status": "Failure", "message": "executable file not found"}
            elif code:
                cause = {"reason": "ExitCode", "message": str(code)}
                status = {"status": "Failure", "details": {"causes": [cause]}}
            await websocket.send_bytes(b"\x03" + json.dumps(status).encode())
        await websocket.close()
        async for message in websocket:
            assert message.type is not WSMsgType.ERROR
        return websocket


def _object(found: Any, path: str) -> web.Response:
    if isinstance(found, int):
        return _status(found, f"no {path}")
    return web.Response(text=found) if isinstance(found, str) else web.json_response(found)


def _status(code: int, message: str) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "message": message, "code": code}
    return web.json_response(body, status=code)


def rbac_name(method: str, path: str) -> tuple[str, str, str] | None:
    """(verb, group, resource/subresource) of a request; None for what is open to all."""
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        group, rest = "", parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, rest = parts[1], parts[3:]
    else:
        return None
    if rest[0] == "namespaces" and len(rest) > 2:
        rest = rest[2:]
    verbs = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
    verb = verbs.get(method) or ("get" if len(rest) > 1 else "list")
    resource = rest[0] + (f"/{rest[2]}" if len(rest) > 2 else "")
    return verb, group, resource
