"""Which server is meant, and whether it is ready or becomes so in time."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ovms.config.server_options import PLACE_OPTIONS
from ovms.config.settings import Settings
from ovms.errors import Code, ServingError
from ovms.ready.ask import Place, ask, place_of
from ovms.ready.processes import running_servers

PAUSE_SECONDS: Final = 0.2


def check_ready(settings: Settings, environment: Mapping[str, str]) -> str:
    """Where the server was asked that is ready; ServingError if it is not within ``wait_seconds``.

    ``settings`` are those of ``ovms ready``. Without an option that says where to ask, it is the server that runs here,
    by the options it was started with.
    """
    deadline = time.monotonic() + settings["wait_seconds"]
    while True:
        try:
            place = _place(settings, environment)
            ask(place)
            return str(place)
        except ServingError as error:
            if error.code is not Code.UNAVAILABLE or time.monotonic() >= deadline:
                raise
        time.sleep(PAUSE_SECONDS)


def _place(settings: Settings, environment: Mapping[str, str]) -> Place:
    if any(settings.place(option.name) == option.flag for option in PLACE_OPTIONS):
        return place_of(settings)
    servers = list(running_servers(environment=environment))
    if not servers:
        raise ServingError(Code.UNAVAILABLE, "not ready: no server runs here")
    if len(servers) == 1:
        return place_of(*servers[0])
    places = {_place_if_known(*server): None for server in servers}
    known = [place for place in places if place is not None]
    if len(places) == len(known) == 1:
        return known[0]
    listed = ", ".join([str(place) for place in known] + ["on a free port"] * (len(places) - len(known)))
    raise ServingError(
        Code.FAILED_PRECONDITION, f"several servers run here ({listed}): say which with --port or --rest_port"
    )


def _place_if_known(settings: Settings, folder: Path) -> Place | None:
    try:
        return place_of(settings, folder)
    except ServingError:
        return None
