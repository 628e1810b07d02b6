"""REST on Python: the application of ``api.rest`` on one of the WSGI servers."""

import logging
import socket
import time
from typing import Any, Final, Protocol

from ovms.access.gate import Gate
from ovms.access.refusals import Refusals
from ovms.api.rest import PredictJson, RestCalls, make_rest_app
from ovms.api.rest_config import ConfigPages, ReloadCall
from ovms.api.rest_health import HealthPages
from ovms.api.rest_models import ModelPages
from ovms.api.status_data import Observed, ServerFacts, StatusData
from ovms.api.tfs import Models
from ovms.config import RestConfig, RestEngine
from ovms.errors import Code, ServingError
from ovms.frontends.admission import admit_wsgi
from ovms.frontends.sockets import listen
from ovms.frontends.status import HTTP_STATUS
from ovms.frontends.tls import Tls
from ovms.metrics import Page

INTERFACES: Final = {"rest": "REST", "metrics": "metrics"}
"""What the log and the metrics call a port, by what its options begin with."""

REFUSAL_SECONDS: Final = 0.05
"""How long requests are answered with 503 before connections end: clients that keep one open learn of it that way."""

logger = logging.getLogger(__name__)


class WsgiServer(Protocol):
    """An HTTP server for an application; made with sockets that listen, started and stopped once."""

    def start(self) -> None:
        """Accept connections from now on; returns at once."""
        ...

    def stop(self, grace: float) -> bool:
        """Accept no more connections and let requests end, at most ``grace`` seconds; False if some were cut off."""
        ...


def rest_calls(
    predict: PredictJson,
    registry: Models,
    configured: Observed,
    reload: ReloadCall,
    health_servicer: Any,
    metrics: Page,
    facts: ServerFacts,
    tells_metrics: bool = True,
) -> RestCalls:
    """What the application calls, of the parts of a server. ``tells_metrics``: the page of metrics is on this port."""
    return RestCalls(
        predict,
        ModelPages(registry, configured, lambda: [model.name for model in configured.models()]),
        ConfigPages(configured, reload),
        HealthPages(health_servicer, configured),
        metrics if tells_metrics else None,
        StatusData(registry, configured, metrics.snapshot, facts),
    )


class WsgiFrontEnd:
    """The REST end point on one of them; made, started and stopped once. Making it takes the port."""

    def __init__(
        self,
        rest: RestConfig,
        engine: RestEngine,
        calls: RestCalls,
        gate: Gate,
        monitoring: bool = False,
        tls: Tls | None = None,
    ) -> None:
        """Bind the port; ServingError UNAVAILABLE if it cannot be had. ``monitoring``: see ``make_rest_app``.

        ``gate`` says who is let in.
        """
        self._stopping = False
        kind = "metrics" if monitoring else "rest"
        refusals = gate.refusals(INTERFACES[kind])
        admit = admit_wsgi(gate, INTERFACES[kind]) if gate.judges else None
        application = make_rest_app(calls, rest, HTTP_STATUS, lambda: self._stopping, monitoring, admit)
        self._server, self.port = _make_server(application, rest, engine, kind, refusals, tls)

    def start(self) -> None:
        """Accept connections from now on."""
        self._server.start()

    def refuse(self) -> None:
        """Refuse new requests from now on; what asks for health is answered as ever."""
        self._stopping = True

    def stop(self, grace: float) -> bool:
        """Refuse new requests and wait for those under way, at most ``grace`` seconds; False if some were cut off."""
        self.refuse()
        time.sleep(REFUSAL_SECONDS)
        return self._server.stop(grace)


def _make_server(
    application: Any, rest: RestConfig, engine: RestEngine, kind: str, refusals: Refusals, tls: Tls | None
) -> tuple[WsgiServer, int]:
    """The server and the port that it has; ``kind`` is what its options begin with."""
    if rest.socket_path:
        raise ServingError(
            Code.FAILED_PRECONDITION, f"--rest_socket_path: {engine} has none; it takes --rest_engine native"
        )
    if engine == "meinheld":
        if tls is not None:
            raise ServingError(
                Code.FAILED_PRECONDITION, "--rest_engine: meinheld has no TLS; native and cheroot have, or leave rest "
                "out of --tls_ports"
            )  # fmt: skip
        from ovms.frontends.wsgi_meinheld import MeinheldServer

        # An IPv6 client's address is larger than the place on its stack that meinheld 1.0.2 has for one.
        if rest.max_connections:
            logger.warning("--max_connections: meinheld has no limit of connections")
        sockets = _listen(rest, kind, ipv6=False)
        return MeinheldServer(application, sockets, rest), sockets[0].getsockname()[1]
    from ovms.frontends.wsgi_cheroot import CherootServer

    sockets = _listen(rest, kind)
    return CherootServer(application, sockets, rest, refusals, tls), sockets[0].getsockname()[1]


def _listen(rest: RestConfig, kind: str, *, ipv6: bool = True) -> list[socket.socket]:
    port_option, address_option = f"--{kind}_port", f"--{kind}_bind_address"
    return listen(rest.bind_address, rest.port, port_option=port_option, address_option=address_option, ipv6=ipv6)
