"""Other model servers to compare with: adapters that say if one is there, how it starts and what it is asked.

A peer lives in an environment of its own, which the user names: ``python -m benchmarks --peer mlserver=PYTHON``. To
add one, write a program that serves one OpenVINO model with it (as ``baselines/mlserver_server.py`` does), and a row
in PEERS.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from benchmarks import kserve_messages
from benchmarks.load import H2Load
from benchmarks.process import ServerProcess, Serving, free_port
from benchmarks.rounds import Contestant

BASELINES = Path(__file__).parent / "baselines"


@dataclass(frozen=True)
class Peer:
    """One other server."""

    title: str
    program: Path
    """Takes --model_name, --model_path (the .xml), --port, --rest_port, --nireq and --plugin_config."""

    needs: tuple[str, ...]
    """What its Python has to be able to import."""

    method: str
    """The gRPC method that is called."""

    request: Callable[[str, np.ndarray], bytes]
    """The request of a model's name and its input ``x``."""

    values: Callable[[bytes], np.ndarray]
    """The values of the output in an answer."""

    def missing(self, python: Path) -> str:
        """Why it cannot be measured with this Python; empty if it can."""
        imports = "; ".join(f"import {name}" for name in self.needs)
        try:
            answer = subprocess.run([python, "-c", imports], capture_output=True, text=True, timeout=120)
        except OSError as error:
            return str(error)
        return "" if answer.returncode == 0 else (answer.stderr.strip().splitlines() or ["it fails to start"])[-1]

    def contestant(self, python: Path, serving: Serving, array: np.ndarray, expected: np.ndarray) -> Contestant:
        """The server, not yet started, and its load."""
        request = self.request(serving.folder.name, array)
        return Contestant(PeerServer(self, python, serving), request, expected, H2Load.grpc(request))


KSERVE = (kserve_messages.METHOD, kserve_messages.infer_request, kserve_messages.output_values)
PEERS = {
    "mlserver": Peer("MLServer", BASELINES / "mlserver_server.py", ("mlserver", "openvino"), *KSERVE),
    "kserve": Peer("KServe", BASELINES / "kserve_server.py", ("kserve", "openvino"), *KSERVE),
}


class PeerServer(ServerProcess):
    """A peer as a context manager: it may have several processes, which are measured and ended together."""

    def __init__(self, peer: Peer, python: Path, serving: Serving) -> None:
        self.module, self.port, self.path, self.values = peer.title, free_port(), peer.method, peer.values
        model = serving.folder / "1" / f"{serving.folder.name}.xml"
        self._command = [
            *(str(python), str(peer.program), "--model_name", serving.folder.name, "--model_path", str(model)),
            *("--port", str(self.port), "--rest_port", str(free_port()), "--nireq", str(serving.nireq)),
            *("--plugin_config", json.dumps(dict(serving.plugin_config))),
        ]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        processes = self.processes()
        super().__exit__(kind, error, trace)
        for pid in processes:
            if _parent(pid) is not None:
                os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        """The process and its descendants."""
        parents = {int(entry): _parent(int(entry)) for entry in os.listdir("/proc") if entry.isdigit()}
        family = [self._process.pid]
        for member in family:
            family += [pid for pid, parent in parents.items() if parent == member]
        return family


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None
