"""The server: HTTPS on loopback, a bearer token, routes.

kmock was looked at first: it mocks single requests for tests of operators and has neither
OpenAPI, Tables, strategic merge nor exec, which kubectl needs.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from aiohttp import web

from clusters.contract.provider import ClusterError
from clusters.kit.certificates import kubeconfig, write_private
from clusters.reference.apiserver import crds, errors, openapi
from clusters.reference.apiserver.authorization import ADMINISTRATOR, Authorizer, attributes
from clusters.reference.apiserver.backends import Admission, PodAccess
from clusters.reference.apiserver.discovery import REVIEWS, Discovery, version_info
from clusters.reference.apiserver.errors import StatusError
from clusters.reference.apiserver.handlers import ResourceHandler
from clusters.reference.apiserver.resources import ALL, ResourceType
from clusters.reference.apiserver.responses import accepted, answer, refusal
from clusters.reference.apiserver.store import Store
from clusters.reference.apiserver.streams import STREAMING
from clusters.reference.apiserver.subresources import USER
from clusters.reference.apiserver.tls import make_tls
from clusters.reference.kubelet.workload import ApiForPods

logger = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
LARGEST_BODY = 3 * 1024 * 1024
"""Upstream's limit of a request body."""

_OPEN_TO_ALL = ("/healthz", "/livez", "/readyz", "/version")
_OPEN_TO_USERS = ("/api", "/openapi")
"""How paths begin that whoever has a token may read, or ask about himself (system:discovery,
system:basic-user)."""
_STOP_SECONDS = 0.1
"""Watches never end by themselves; nothing is worth waiting for."""

_IDLE_SECONDS = 3600.0
"""A connection of a client's pool that is closed while a request is on its way is an error
that the client could not have prevented."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiServerError(ClusterError):
    """The server cannot be started; the message says what to do."""


class ApiServer:
    """The Kubernetes API of one embedded cluster, for clients outside.

    The store is the only state: whoever runs in this process uses it directly.

    Attributes:
        token: the administrator's bearer token.
        port: the port that is listened on, once started.

    Example:
        server = ApiServer(store, admission=stack, pods=stack)
        await server.start()
        server.kubeconfig(directory / "kubeconfig")
        ...
        await server.stop()
    """

    def __init__(
        self,
        store: Store,
        *,
        admission: Admission,
        pods: PodAccess,
        types: Sequence[ResourceType] = ALL,
        port: int = 0,
        name: str = "embedded",
        extra_routes: Iterable[web.AbstractRouteDef] = (),
    ) -> None:
        """Nothing listens before `start`.

        Args:
            store: where objects are; the namespaces that clients write to must be in it.
            admission: defaults and validates every object that is written over HTTP.
            pods: logs, exec, consoles and kubelet configurations.
            types: what is served, from `resources.served`.
            port: to listen on; 0 takes a free one.
            name: of the cluster in the kubeconfig.
            extra_routes: served beside the API, to who has the token.
        """
        self._authorizer = Authorizer(store)
        self.token = self._authorizer.token
        self.port = port
        self._name = name
        self._discovery = Discovery(types)
        self._types = tuple(types)
        self._store = store
        self._resources = ResourceHandler(store, types, admission, pods, self._authorizer)
        self._extra_routes = tuple(extra_routes)
        self._tls = make_tls(ADDRESS)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where clients reach it, once started."""
        return f"https://{ADDRESS}:{self.port}"

    async def start(self) -> None:
        """Listens. Raises ApiServerError when the port is taken."""
        crds.install(self._store, self._types)
        application = web.Application(
            middlewares=[self._answer_errors, self._authorize],
            client_max_size=LARGEST_BODY,
        )
        application.add_routes(self._extra_routes)
        application.add_routes(self._routes())
        # A watch or an exec ends with its connection.
        runner = web.AppRunner(
            application,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=_STOP_SECONDS,
            keepalive_timeout=_IDLE_SECONDS,
        )
        await runner.setup()
        site = web.TCPSite(runner, ADDRESS, self.port, ssl_context=self._tls.context)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            if error.errno == errno.EADDRINUSE:
                raise ApiServerError(
                    f"port {self.port} of {ADDRESS} is in use: choose another one, or 0 for any "
                    "free port"
                ) from error
            raise ApiServerError(f"cannot listen on {ADDRESS}:{self.port}: {error}") from error
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Ends every connection. Safe to call twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def for_pods(self) -> ApiForPods:
        """How a pod reaches it, from a node to which the port is forwarded."""
        return ApiForPods(ADDRESS, self.port, self._tls.authority, self._authorizer.token_of)

    def kubeconfig(self, path: Path) -> None:
        """Writes a kubeconfig of the administrator, readable by its owner alone."""
        text = kubeconfig(
            name=self._name,
            url=self.url,
            authority=self._tls.authority,
            user={"token": self.token},
        )
        write_private(path, text.encode())

    def _routes(self) -> list[web.AbstractRouteDef]:
        return [
            *(web.get(path, self._healthy) for path in _OPEN_TO_ALL if path != "/version"),
            web.get("/version", self._version),
            web.get("/api", self._core_versions),
            web.get("/apis", self._groups),
            web.get("/api/v1", self._resource_list),
            web.get("/apis/{group}", self._group),
            web.get("/apis/{group}/{version}", self._resource_list),
            web.get("/openapi/v3", self._openapi_index),
            web.get("/openapi/v3/{path:.+}", self._openapi),
            web.route("*", "/api/v1/{path:.+}", self._resources.handle),
            web.route("*", "/apis/{group}/{version}/{path:.+}", self._resources.handle),
        ]

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _version(self, _: web.Request) -> web.Response:
        return answer(version_info())

    async def _core_versions(self, request: web.Request) -> web.Response:
        how = accepted(request.headers.get("Accept", ""), ("APIGroupDiscoveryList",))
        if how.form:
            return answer(self._discovery.aggregated([""]), how)
        return answer(self._discovery.core_versions(), how)

    async def _groups(self, request: web.Request) -> web.Response:
        how = accepted(request.headers.get("Accept", ""), ("APIGroupDiscoveryList",))
        if how.form:
            return answer(self._discovery.aggregated(self._discovery.groups), how)
        return answer(self._discovery.group_list(), how)

    async def _group(self, request: web.Request) -> web.Response:
        found = self._discovery.group(request.match_info["group"])
        if found is None:
            raise errors.no_such_resource()
        return answer(found)

    async def _resource_list(self, request: web.Request) -> web.Response:
        group = request.match_info.get("group", "")
        found = self._discovery.resource_list(group, request.match_info.get("version", "v1"))
        if found is None:
            raise errors.no_such_resource()
        return answer(found)

    async def _openapi_index(self, _: web.Request) -> web.Response:
        return answer(openapi.index(self._types))

    async def _openapi(self, request: web.Request) -> web.Response:
        accepted(request.headers.get("Accept", ""))
        found = openapi.document(request.match_info["path"], self._types)
        if found is None:
            raise errors.no_such_resource()
        return answer(found)

    @web.middleware
    async def _authorize(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.path in _OPEN_TO_ALL:
            return await handler(request)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        user = self._authorizer.user(token.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            raise errors.unauthorized()
        request[USER] = user
        wanted = attributes(request.method, request.path, request.query)
        if wanted is not None and wanted.group != REVIEWS[0].group:
            self._authorizer.require(user, wanted)
        elif user != ADMINISTRATOR and not request.path.startswith(_OPEN_TO_USERS):
            raise StatusError(403, "Forbidden", f'forbidden: User "{user}" cannot do that')
        return await handler(request)

    @web.middleware
    async def _answer_errors(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except StatusError as error:
            return refusal(error)
        except web.HTTPRequestEntityTooLarge:
            message = f"Request entity too large: limit is {LARGEST_BODY}"
            return refusal(StatusError(413, "RequestEntityTooLarge", message))
        except web.HTTPMethodNotAllowed:
            return refusal(errors.method_not_allowed())
        except web.HTTPNotFound:
            return refusal(errors.no_such_resource())
        except ConnectionResetError:
            raise  # The client has gone; there is nobody to be told.
        except Exception as error:
            if request.get(STREAMING):
                raise  # The answer has begun; all that is left is to end it.
            logger.exception("%s %s failed", request.method, request.path_qs)
            message = f"Internal error occurred: {type(error).__name__}: {error}"
            return refusal(StatusError(500, "InternalError", message))
