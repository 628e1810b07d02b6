"""Timing that survives a busy machine: short rounds, all contestants in each, the least disturbed round counts."""

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

Sampler = Callable[[float], float]
"""Runs something again and again for about so many seconds; returns seconds per call."""


@dataclass(frozen=True)
class Pace:
    """How much to measure: rounds, and seconds per contestant in each round.

    Where rates are compared and no round was quiet, up to ``most`` rounds are made, in the hope of one.
    """

    rounds: int
    seconds: float
    most: int = 0


@dataclass(frozen=True)
class Timing:
    """Seconds per call: of the fastest round, and of the round in the middle."""

    best: float
    median: float


def local(call: Callable[[], object]) -> Sampler:
    """Sample a Python callable of this process; the loop around it costs about 0.03 us a call."""

    def sample(seconds: float) -> float:
        began = time.perf_counter()
        call()
        once = time.perf_counter() - began
        count = max(1, min(1_000_000, round(seconds / max(once, 1e-7))))
        repeated = range(count)
        began = time.perf_counter()
        for _ in repeated:
            call()
        return (time.perf_counter() - began) / count

    return sample


def interleaved(samplers: Mapping[str, Sampler], pace: Pace) -> dict[str, Timing]:
    """Measure all samplers in turn, ``pace.rounds`` times over, after one round that does not count."""
    for sample in samplers.values():
        sample(pace.seconds / 4)
    rounds = [{name: sample(pace.seconds) for name, sample in samplers.items()} for _ in range(pace.rounds)]
    return {name: timing([times[name] for times in rounds]) for name in samplers}


def timing(samples: Sequence[float]) -> Timing:
    """The fastest and the median sample."""
    return Timing(min(samples), statistics.median(samples))


class SamplingProcess:
    """Another program that samples: one line ``<seconds> <what>`` in, one line with seconds per call out."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self._process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> "SamplingProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=30)

    def sampler(self, what: str = "") -> Sampler:
        """A sampler of what the program calls ``what``."""

        def sample(seconds: float) -> float:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            print(seconds, what, file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
            if not answer:
                raise RuntimeError(f"{self._process.args!r} ended with code {self._process.wait(10)}")
            return float(answer)

        return sample
