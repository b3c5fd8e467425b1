"""Commands and node files through the API's exec channel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from clusters.contract.access import AccessError, ExecResult, Reading
from clusters.existing.node import HandlerShell, handlers
from clusters.kit.api import Api
from clusters.kit.pod_exec import ApiExec, CannotRunError
from tests.unit.existing.conftest import FakeApi, handler_pod

PLACE = ("kubevirt", "virt-handler-x", "virt-handler")


def shell(api: FakeApi) -> HandlerShell:
    client = Api(api.kubeconfig)
    return HandlerShell(client, ApiExec(api.kubeconfig), handlers(client)[0])


def test_output_status_and_errors_arrive(api: FakeApi) -> None:
    run = ApiExec(api.kubeconfig).run
    assert run(*PLACE, ["sh", "-c", "echo out; echo no >&2; exit 3"]) == ExecResult(
        3, "out\n", "no\n"
    )
    assert run(*PLACE, ["true"]) == ExecResult(0, "", "")


def test_a_command_can_read(api: FakeApi) -> None:
    line = b"x" * 100_000 + b"\n"
    script = 'read -r line && printf %s "$line"'
    ended = ApiExec(api.kubeconfig).run_bytes(*PLACE, ["sh", "-c", script], stdin=line)
    assert ended.stdout == line[:-1]


def test_big_answers_arrive_whole(api: FakeApi) -> None:
    api.commands["virt-handler"] = lambda *_: (0, b"\xff\0" * 2_000_000, b"")
    ended = ApiExec(api.kubeconfig).run_bytes(*PLACE, ["cat", "big"])
    assert ended.stdout == b"\xff\0" * 2_000_000


def test_a_broken_connection_is_not_the_end_of_a_command(api: FakeApi) -> None:
    api.breaks_off = True
    with pytest.raises(AccessError, match="ended before `cat file` in kubevirt/virt-handler-x"):
        ApiExec(api.kubeconfig).run(*PLACE, ["cat", "file"])


def test_a_missing_program_is_told_from_a_failing_one(api: FakeApi) -> None:
    api.commands["virt-handler"] = lambda *_: (127, b"", b"")
    with pytest.raises(CannotRunError, match="executable file not found"):
        ApiExec(api.kubeconfig).run(*PLACE, ["virsh"])


def test_a_refusal_is_said_in_the_servers_words(api: FakeApi) -> None:
    api.exec_refusal = 403
    with pytest.raises(CannotRunError, match=r"cannot run `true` in .*: you may not exec$"):
        ApiExec(api.kubeconfig).run(*PLACE, ["true"])


def test_an_api_that_is_gone(api: FakeApi) -> None:
    exec_ = ApiExec(api.write_kubeconfig("http://127.0.0.1:1", "secret"))
    with pytest.raises(CannotRunError, match="refused"):
        exec_.run(*PLACE, ["true"])


def test_node_files_bear_the_nodes_own_paths(api: FakeApi, node_root: Path) -> None:
    (node_root / "sys/odd name").write_bytes(b"\0\xff")
    found = shell(api).read(["/sys/odd*", "/sys/devices/system/*/online", "/proc/self/mem"])
    assert found == Reading(
        {
            "/sys/odd name": "\0\\xff",
            "/sys/devices/system/cpu/online": "0-11\n",
            "/sys/devices/system/node/online": "0\n",
        },
        {"/proc/self/mem": "Input/output error"},
    )
    assert shell(api).list(["/sys/devices/system/*"]) == (
        "/sys/devices/system/cpu",
        "/sys/devices/system/node",
    )


def test_one_exec_for_a_read_of_any_size(api: FakeApi, node_root: Path) -> None:
    calls = []
    run = api.node_shell(node_root)

    def count(command: Sequence[str], stdin: bytes) -> tuple[int, bytes, bytes]:
        calls.append(command)
        return run(command, stdin)

    api.commands["virt-handler"] = count
    for number in range(3000):
        (node_root / f"file-{number}").write_text(str(number))
    found = shell(api).read([f"/file-{number}" for number in range(3000)])
    assert len(found.files) == 3000
    assert len(calls) == 1


def test_a_replaced_virt_handler_is_found_again(api: FakeApi, node_root: Path) -> None:
    old = shell(api)
    api.exec_refusal = 404
    with pytest.raises(CannotRunError):
        old.read(["/sys/*"])

    class Comes(dict[str, object]):
        """The new pod is there as soon as one looks."""

        def get(self, path: str, default: object = None) -> object:
            api.exec_refusal = None
            return super().get(path, default)

    api.objects = Comes(api.objects)
    api.objects["/api/v1/pods"] = {"items": [handler_pod(name="virt-handler-y")]}
    api.exec_refusal = 404
    assert old.read(["/sys/devices/system/cpu/online"]).files


def test_a_failing_shell_is_no_empty_answer(api: FakeApi) -> None:
    api.commands["virt-handler"] = lambda *_: (2, b"", b"sh: syntax error\n")
    with pytest.raises(AccessError, match=r"node n1: .* ended with 2: sh: syntax error"):
        shell(api).read(["/sys/*"])


def test_of_two_handlers_the_usable_one_is_taken(api: FakeApi) -> None:
    ending = handler_pod(name="old")
    ending["metadata"]["deletionTimestamp"] = "2026-08-01T00:00:00Z"
    blind = handler_pod("n2", hostPID=False)
    api.objects["/api/v1/pods"] = {"items": [ending, handler_pod(name="new"), blind]}
    found = {handler.node: handler for handler in handlers(Api(api.kubeconfig))}
    assert (found["n1"].pod, found["n1"].trouble) == ("new", None)
    assert "hostPID" in str(found["n2"].trouble)
