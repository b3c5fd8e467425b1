"""Requests: what passes is asked again, what does not come whole is no answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from clusters.kit.api import Api, ApiError, TransientError, UnreachableError
from conformance import settling
from conformance.collecting.api import connect

Answer = tuple[int, bytes, dict[str, str]]
PODS = "/api/v1/pods"


def answer(content: object, code: int = 200, **headers: str) -> Answer:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return code, data, {name.replace("_", "-"): value for name, value in headers.items()}


class Server:
    """Answers from a script; the last one again and again."""

    def __init__(self) -> None:
        self.script: list[Answer | Callable[[str], Answer]] = []
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                step = outer.script.pop(0) if len(outer.script) > 1 else outer.script[0]
                code, data, headers = step(self.path) if callable(step) else step
                self.send_response(code)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(settling, "FIRST_RETRY", 0.001)
    monkeypatch.setattr(settling, "LONGEST_RETRY", 0.001)
    monkeypatch.setattr("clusters.kit.api.PAUSES", (0.0, 0.0))
    found = Server()
    yield found
    found.close()


@pytest.fixture
def kubeconfig(server: Server, tmp_path: Path) -> str:
    path = tmp_path / "kubeconfig"
    context = {"cluster": "c", "user": "u"}
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": server.address}}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "x", "context": context}],
                "current-context": "x",
            }
        )
    )
    return str(path)


@pytest.fixture
def api(kubeconfig: str) -> Api:
    return connect(kubeconfig)


def parts(path: str) -> Answer:
    """A list in two parts."""
    more = parse_qs(urlsplit(path).query).get("continue")
    if more == ["next"]:
        return answer({"items": [{"n": 2}], "metadata": {}})
    return answer({"items": [{"n": 1}], "metadata": {"continue": "next"}})


def test_a_list_is_read_to_its_end(server: Server, api: Api, kubeconfig: str) -> None:
    server.script = [parts]
    assert [each["n"] for each in api.items(PODS, fieldSelector="x=y")] == [1, 2]
    assert all("fieldSelector=x%3Dy" in path for path in server.asked)
    assert [each["n"] for each in Api(kubeconfig).items(PODS)] == [1, 2]


def test_c10_a_list_whose_rest_does_not_come_is_no_list(server: Server, api: Api) -> None:
    first = answer({"items": [{"n": 1}], "metadata": {"continue": "next"}})
    server.script = [first, answer({"kind": "Status", "message": "too old"}, 410)]
    with pytest.raises(ApiError, match="too old"):
        api.items(PODS)


@pytest.mark.parametrize("content", [{}, {"items": 5}, {"items": "all"}, []])
def test_what_is_no_list_is_no_empty_one(server: Server, api: Api, content: object) -> None:
    server.script = [answer(content)]
    with pytest.raises(TransientError):
        api.items(PODS)


@pytest.mark.parametrize("broken", [b'{"items": [', b"<html>", b"[1]", b"[" * 100_000, b""])
def test_an_answer_that_is_no_object_is_asked_for_again(
    server: Server, api: Api, kubeconfig: str, broken: bytes
) -> None:
    good = answer({"items": []})
    server.script = [answer(broken), good]
    assert api.items(PODS) == []
    assert len(server.asked) == 2
    server.script = [answer(broken), good]
    assert Api(kubeconfig).items(PODS) == []
    server.script = [answer(broken)]
    with pytest.raises(TransientError):
        api.get("/version")
    with pytest.raises(TransientError):
        Api(kubeconfig).get("/version")


def test_c11_a_busy_server_is_asked_again(server: Server, kubeconfig: str) -> None:
    server.script = [answer({"message": "not now"}, 503), answer({"gitVersion": "v1"})]
    assert Api(kubeconfig).get("/version") == {"gitVersion": "v1"}
    server.script = [answer({"message": "never"}, 403)]
    asked = len(server.asked)
    with pytest.raises(ApiError, match="never"):
        Api(kubeconfig).get("/version")
    assert len(server.asked) == asked + 1


def test_only_a_run_asks_again_where_nothing_answers(server: Server, kubeconfig: str) -> None:
    """Somebody at a terminal wants to know at once; a run outlives an API server's restart."""
    server.close()
    for api, retries in ((Api(kubeconfig), 0), (connect(kubeconfig), settling.API_TRIES - 1)):
        with pytest.raises(UnreachableError, match="nothing answers at http"):
            api.get("/version")
        assert len(list(api.faults)) == retries  # type: ignore[call-overload]


def later(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        ("86400", 30, 30),
        ("7", 7, 7),
        ("in 3600", 30, 30),
        ("in -60", 0, 0),
        ("in 25", 0.1, 25),
        ("soon", 0.0, 0.1),
        ("", 0.0, 0.1),
    ],
)
def test_what_retry_after_asks_for_has_a_bound(
    server: Server,
    api: Api,
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    least: float,
    most: float,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", slept.append)
    if asked.startswith("in "):
        asked = later(float(asked.removeprefix("in ")))
    server.script = [answer({}, 429, Retry_After=asked), answer({"items": []})]
    api.get(PODS)
    (pause,) = slept
    assert least <= pause <= most


def test_c25_a_refusal_that_is_no_status_becomes_one(server: Server, api: Api) -> None:
    server.script = [answer(b"404 page not found\n", 404)]
    with pytest.raises(ApiError) as caught:
        api.get("/apis/kubevirt.io/v1alpha2/namespaces/x/virtualmachineinstances")
    assert caught.value.status["kind"] == "Status"
    assert caught.value.status["code"] == 404
    assert "404 page not found" in caught.value.status["message"]


EVENT = {"type": "ADDED", "object": {"metadata": {"name": "x"}}}


@pytest.mark.parametrize(
    ("sent", "events", "says"),
    [
        (b'{"type": "ADDED", "object": {"meta', 0, ""),
        (json.dumps(EVENT).encode() + b"\n{broken\n", 1, "no event"),
        (b"[]\n", 0, "no event"),
        (b'{"type": "ERROR", "object": {"message": "too old"}}\n', 0, "too old"),
        (b'{"type": "BOOKMARK", "object": {}}\n', 0, ""),
    ],
)
def test_a_watch_that_breaks_just_ends(
    server: Server, api: Api, sent: bytes, events: int, says: str
) -> None:
    server.script = [answer(sent)]
    assert len(list(api.watch(PODS, 1))) == events
    assert says in " ".join(api.faults)  # type: ignore[arg-type]


def test_a_watch_that_is_out_of_date_just_ends(server: Server, api: Api) -> None:
    server.script = [answer({"kind": "Status", "message": "gone"}, 410)]
    assert list(api.watch(PODS, 1)) == []
