"""Logs, exec and consoles."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
import pytest
from kubernetes.client import ApiException
from kubernetes.stream import stream

from clusters.reference.apiserver.resources import POD, VMI
from tests.unit.reference.apiserver.world import World, running_pod, vmi

POD_PATH = "/api/v1/namespaces/default/pods/a"
CONSOLE = "/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachineinstances/a/console"
Result = TypeVar("Result")


def over_websocket(
    world: World,
    path: str,
    protocol: str,
    talk: Callable[[aiohttp.ClientWebSocketResponse], Awaitable[Result]],
) -> Result:
    async def connect() -> Result:
        headers = {"Authorization": f"Bearer {world.server.token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            asyncio.timeout(20),
            session.ws_connect(
                world.server.url + path, protocols=[protocol], ssl=world.trust()
            ) as socket,
        ):
            assert socket.protocol == protocol
            return await talk(socket)

    return asyncio.run(connect())


def execute(core: Any, *command: str, **options: Any) -> Any:
    return stream(
        core.connect_get_namespaced_pod_exec,
        "a",
        "default",
        command=list(command),
        **{"stdin": False, "stdout": True, "stderr": True, "tty": False, **options},
    )


def test_a_log_is_read_whole_or_from_its_end(world: World, core: Any) -> None:
    world.run_pod(running_pod("a"), "one\ntwo\nthree\n")
    assert core.read_namespaced_pod_log("a", "default") == "one\ntwo\nthree\n"
    assert core.read_namespaced_pod_log("a", "default", tail_lines=2) == "two\nthree\n"
    assert core.read_namespaced_pod_log("a", "default", tail_lines=0) == ""
    assert core.read_namespaced_pod_log("a", "default", limit_bytes=3) == "one"


def test_a_container_must_be_named_when_there_are_several(world: World, core: Any) -> None:
    pod = running_pod("a", "x", "y")
    pod["spec"]["initContainers"] = [{"name": "setup", "image": "none"}]
    world.run_pod(pod, "text")
    reply = world.request("GET", f"{POD_PATH}/log")
    assert reply.status == 400
    assert reply.json["message"] == (
        "a container name must be specified for pod a, choose one of: [x y] or one of the init "
        "containers: [setup]"
    )
    assert core.read_namespaced_pod_log("a", "default", container="y") == "text"
    unknown = world.request("GET", f"{POD_PATH}/log?container=z")
    assert (unknown.status, unknown.json["message"]) == (
        400,
        "container z is not valid for pod a",
    )


def test_an_annotation_names_the_default_container(world: World, core: Any) -> None:
    pod = running_pod("a", "x", "y")
    pod["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "y"}
    world.run_pod(pod)
    world.pods.logs["default", "a", "y"] = "of y"
    assert core.read_namespaced_pod_log("a", "default") == "of y"


def test_a_container_that_has_not_started_says_so(world: World) -> None:
    world.run_pod(running_pod("a"))
    world.pods.logs.clear()
    reply = world.request("GET", f"{POD_PATH}/log")
    assert reply.status == 400
    assert 'container "main" in pod "a" is waiting to start' in reply.json["message"]


def test_a_followed_log_ends_with_its_container(world: World, core: Any) -> None:
    world.run_pod(running_pod("a"), "old\n")
    reply = core.read_namespaced_pod_log("a", "default", follow=True, _preload_content=False)
    assert reply.read(4) == b"old\n"
    world.pods.logs["default", "a", "main"] += "new\n"
    assert reply.read(4) == b"new\n"
    world.pods.logs["default", "a", "main"] += "last\n"
    world.mutate(POD, "a", "default", phase="Succeeded")
    assert reply.read() == b"last\n"


def test_a_followed_tail_does_not_repeat(world: World, core: Any) -> None:
    world.run_pod(running_pod("a"), "one\ntwo\n")
    world.mutate(POD, "a", "default", phase="Succeeded")
    assert core.read_namespaced_pod_log("a", "default", follow=True, tail_lines=1) == "two\n"


def test_the_client_runs_a_command(world: World, core: Any) -> None:
    world.run_pod(running_pod("a"))
    session = execute(core, "echo", "hello", _preload_content=False)
    session.run_forever(timeout=20)
    assert session.read_stdout() == "echo hello\n"
    assert session.read_stderr() == "complaint\n"
    assert session.returncode == 0


@pytest.mark.parametrize("code", [1, 42, 137])
def test_an_exit_code_is_told(world: World, core: Any, code: int) -> None:
    world.run_pod(running_pod("a"))
    session = execute(core, "exit", str(code), _preload_content=False)
    session.run_forever(timeout=20)
    assert session.returncode == code


def test_input_reaches_the_command(world: World, core: Any) -> None:
    world.run_pod(running_pod("a"))
    session = execute(core, "cat", stdin=True, _preload_content=False)
    session.write_stdin("typed\n")
    assert session.readline_stdout(timeout=20) == "typed"
    session.close()


def test_a_command_dies_with_its_client(world: World, core: Any) -> None:
    world.run_pod(running_pod("a"))
    session = execute(core, "sleep", _preload_content=False)
    assert session.readline_stdout(timeout=20) == "sleeping"
    assert not world.pods.sessions[0].killed.is_set()
    session.close()
    world.settle(world.pods.sessions[0].killed.is_set)


def test_only_attached_streams_are_sent(world: World, core: Any) -> None:
    world.run_pod(running_pod("a"))
    session = execute(core, "echo", stderr=False, _preload_content=False)
    session.run_forever(timeout=20)
    assert (session.read_stdout(), session.read_stderr()) == ("echo\n", "")


def test_version_5_ends_the_input_alone(world: World) -> None:
    world.run_pod(running_pod("a"))

    async def talk(socket: aiohttp.ClientWebSocketResponse) -> list[bytes]:
        await socket.send_bytes(b"\x00hello")
        await socket.send_bytes(b"\xff\x00")
        return [message.data async for message in socket]

    path = f"{POD_PATH}/exec?command=cat&stdin=true&stdout=true"
    messages = over_websocket(world, path, "v5.channel.k8s.io", talk)
    assert messages[:-1] == [b"\x01", b"\x01hello"]
    assert messages[-1][0] == 3
    assert json.loads(messages[-1][1:])["status"] == "Success"


def test_a_terminal_is_resized(world: World) -> None:
    world.run_pod(running_pod("a"))

    async def talk(socket: aiohttp.ClientWebSocketResponse) -> list[bytes]:
        await socket.send_bytes(b'\x04{"Width":100,"Height":30}')
        return [message.data async for message in socket]

    path = f"{POD_PATH}/exec?command=size&stdin=true&stdout=true&tty=true"
    assert b"\x01100x30" in over_websocket(world, path, "v4.channel.k8s.io", talk)
    assert world.pods.sessions[0].tty


def test_exec_refuses_in_words(world: World, core: Any) -> None:
    world.run_pod(running_pod("a"))
    plain = world.request("GET", f"{POD_PATH}/exec?command=x")
    assert plain.status == 400
    assert "WebSocket" in plain.json["message"]
    with pytest.raises(ApiException) as refused:
        execute(core, "x", container="z")
    assert "400" in str(refused.value)
    assert world.request("GET", "/api/v1/namespaces/default/pods/b/exec").status == 404


def test_a_console_tells_what_was_printed_and_goes_on(world: World) -> None:
    world.request("POST", CONSOLE_VMIS, vmi("a"))
    world.mutate(VMI, "a", "default", phase="Running")
    world.pods.consoles["default", "a"] = "booting\n"

    async def talk(socket: aiohttp.ClientWebSocketResponse) -> list[bytes]:
        first = await socket.receive_bytes()
        world.pods.consoles["default", "a"] += "ready\n"
        return [first, await socket.receive_bytes()]

    assert over_websocket(world, CONSOLE, "plain.kubevirt.io", talk) == [b"booting\n", b"ready\n"]


def test_a_console_needs_a_running_guest(world: World) -> None:
    assert world.request("GET", CONSOLE).status == 404
    world.request("POST", CONSOLE_VMIS, vmi("a"))
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        over_websocket(world, CONSOLE, "plain.kubevirt.io", lambda socket: socket.receive())
    assert refused.value.status == 409


CONSOLE_VMIS = "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances"
