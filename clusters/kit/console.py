"""The serial console of a guest, through KubeVirt's ``console`` subresource.

One WebSocket of the aggregated API ``subresources.kubevirt.io``; needs nothing but a
kubeconfig, on any cluster.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Any

from clusters.contract.access import AccessError
from clusters.kit import credentials

CONNECT_SECONDS = 20.0
LONGEST_SECONDS = 10.0


class ApiConsole:
    """GuestConsole of a cluster that serves the subresource."""

    def __init__(self, kubeconfig: str, context: str | None = None) -> None:
        self._configuration = credentials.configuration(kubeconfig, context)

    def text(self, namespace: str, vmi: str, enough: Callable[[str], bool]) -> str:
        """What arrives after the guest was sent an empty line, until that is enough.

        The tiny guest answers an empty line with its report, so that it is read even where
        the console shows only what is printed after it was opened.
        """
        import websocket

        try:
            socket = self._open(namespace, vmi)
        except (OSError, websocket.WebSocketException) as error:
            raise AccessError(f"the console of {namespace}/{vmi} does not open: {error}") from error
        received = bytearray()
        try:
            socket.send_binary(b"\n")
            deadline = time.monotonic() + LONGEST_SECONDS
            while (left := deadline - time.monotonic()) > 0:
                socket.settimeout(left)
                piece = socket.recv()
                if not piece:
                    break
                received += piece.encode() if isinstance(piece, str) else piece
                if enough(received.decode(errors="replace")):
                    break
        except (websocket.WebSocketTimeoutException, websocket.WebSocketConnectionClosedException):
            pass  # time is over, or the guest: what has arrived is what there is
        except (OSError, websocket.WebSocketException) as error:
            raise AccessError(f"the console of {namespace}/{vmi} broke: {error}") from error
        finally:
            socket.close()
        return received.decode(errors="replace")

    def _open(self, namespace: str, vmi: str) -> Any:
        import websocket

        configuration = self._configuration
        trust: dict[str, object] = {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
        if configuration.verify_ssl:
            trust = {"ca_certs": configuration.ssl_ca_cert}
        if configuration.cert_file:
            trust |= {"certfile": configuration.cert_file, "keyfile": configuration.key_file}
        return websocket.create_connection(
            configuration.host.replace("http", "ws", 1)
            + f"/apis/subresources.kubevirt.io/v1/namespaces/{namespace}"
            + f"/virtualmachineinstances/{vmi}/console",
            subprotocols=["plain.kubevirt.io"],
            header=[
                f"{item['key']}: {item['value']}" for item in configuration.auth_settings().values()
            ],
            sslopt=trust,
            timeout=CONNECT_SECONDS,
        )
