"""How each transport asks who is let in."""

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

import grpc

from ovms.access.gate import Gate, presented_keys
from ovms.access.keys import Scope
from ovms.access.refusals import Refused
from ovms.frontends.status import GRPC_STATUS

OPEN_CALLS: Final = frozenset({"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"})
"""gRPC calls that need no key. Health's List is none of them: it names all models."""

ADMIN_CALLS: Final = frozenset({"/tensorflow.serving.ModelService/HandleReloadConfigRequest"})


def admit_wsgi(gate: Gate, interface: str) -> Callable[[Mapping[str, Any], Scope], None]:
    """Have the gate judge requests of a WSGI server; an ``api.rest.Admit``."""
    refusals = gate.refusals(interface)

    def admit(environ: Mapping[str, Any], scope: Scope) -> None:
        authorization, x_api_key = (
            [environ[name]] if name in environ else [] for name in ("HTTP_AUTHORIZATION", "HTTP_X_API_KEY")
        )
        address = environ.get("REMOTE_ADDR") or ""
        keys = presented_keys(authorization, x_api_key, environ["REQUEST_METHOD"] in ("GET", "HEAD"))
        if why := gate.judge(scope, keys, address):
            refusals.count(why, address)
            raise gate.error(why)

    return admit


class Interceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # grpcio has no types
    """Has the gate judge calls of grpcio, before a thread of predictions is taken."""

    def __init__(self, gate: Gate, refuse_on: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """``refuse_on`` makes of a method one that runs where refusals do."""
        self._gate = gate
        self._refusals = gate.refusals("gRPC")
        # As of a stream: so the call's message is not waited for.
        self._refusing = {why: grpc.stream_unary_rpc_method_handler(refuse_on(self._refuse(why))) for why in Refused}

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """The method's handler, or one that refuses the call."""
        path = details.method
        scope = Scope.OPEN if path in OPEN_CALLS else Scope.ADMIN if path in ADMIN_CALLS else Scope.PREDICT
        if self._gate.limits_addresses and scope != Scope.OPEN:
            return self._limited(continuation(details), scope)
        found: dict[str, list[str]] = {"authorization": [], "x-api-key": []}
        for name, value in details.invocation_metadata:
            if name in found and isinstance(value, str):
                found[name].append(value)
        why = self._gate.judge(scope, presented_keys(found["authorization"], found["x-api-key"]), "")
        return self._refusing[why] if why else continuation(details)

    def _limited(self, handler: Any, scope: Scope) -> Any:
        """The same, judged when the client's address is known; no handler, or health's stream, as it is."""
        if handler is None or handler.unary_unary is None:
            return handler
        method = handler.unary_unary

        def judged(request: Any, context: grpc.ServicerContext) -> Any:
            if why := self._gate.judge(scope, (), peer_address(context.peer())):
                self._refuse(why)(request, context)
            return method(request, context)

        vars(judged).update(vars(method))  # the threads that grpcio is to use for it
        return grpc.unary_unary_rpc_method_handler(judged, handler.request_deserializer, handler.response_serializer)

    def _refuse(self, why: Refused) -> Callable[[Any, grpc.ServicerContext], Any]:
        def method(request: Any, context: grpc.ServicerContext) -> Any:
            self._refusals.count(why, peer_address(context.peer()))
            error = self._gate.error(why)
            context.abort(GRPC_STATUS[error.code], error.message)

        return method


def peer_address(peer: str) -> str:
    """The address of a peer as grpcio writes it (``ipv6:%5B::1%5D:1234``); empty for a Unix socket."""
    kind, _, place = unquote(peer).partition(":")
    return place.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""
