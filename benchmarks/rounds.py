"""Rounds of load on servers that take turns, and what to make of them."""

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from benchmarks.load import H2Load, Load, Shape
from benchmarks.machine import QUIET, Watch
from benchmarks.measure import Pace
from benchmarks.process import ServerProcess
from benchmarks.report import Target, times

JUDGED_ROUNDS = 7
"""At least so many of a load that targets are judged by: the CPU of equal rounds differs by a fifth, and that of the
cheapest of a few by a tenth."""


@dataclass(frozen=True)
class Contestant:
    """A server, the request it gets, the output that it has to answer with, and the load program with that request."""

    server: ServerProcess
    request: bytes
    expected: np.ndarray
    client: H2Load


@dataclass
class Result:
    """What rounds of load on one server gave; CPU seconds are per call."""

    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    kernel: list[float] = field(default_factory=list)  # of cpu
    client_cpu: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)  # of the calls' seconds, as the next
    tails: list[float] = field(default_factory=list)
    resident: int = 0

    @property
    def best(self) -> int:
        """The fastest of the quiet rounds, or the quietest if none was quiet."""
        quiet = self.quiet_rounds
        if quiet:
            return max(quiet, key=lambda number: self.rates[number])
        return self.others.index(min(self.others))

    @property
    def quiet_rounds(self) -> list[int]:
        """Those in which other programs took next to nothing."""
        return [number for number, others in enumerate(self.others) if others <= QUIET]

    @property
    def rate(self) -> float:
        """Calls per second in the best round."""
        return self.rates[self.best]

    @property
    def cheapest(self) -> float:
        """CPU seconds per call in the cheapest round."""
        return min(self.cpu)

    @property
    def in_kernel(self) -> float:
        """Which share of that the kernel took."""
        return self.kernel[self.cpu.index(self.cheapest)] / self.cheapest if self.cheapest else 0.0

    def shortest(self, values: list[float]) -> float:
        """The least of the medians or tails in a quiet round, or that of the quietest if none was quiet."""
        quiet = self.quiet_rounds
        return min(values[number] for number in quiet) if quiet else values[self.best]


@contextlib.contextmanager
def running(contestants: Mapping[str, Contestant]) -> Iterator[None]:
    """All servers running, their answers checked before and after."""
    with contextlib.ExitStack() as stack:
        for one in contestants.values():
            stack.enter_context(one.server)
        for one in contestants.values():
            one.server.wait_until_right(one.request, one.expected)
        yield
        for one in contestants.values():
            one.server.check(one.request, one.expected)


def closed(contestants: Mapping[str, Contestant], shape: Shape, pace: Pace, judged: bool) -> dict[str, Result]:
    """Load of so many calls under way together; if it is to be judged, until there was a quiet round of each."""
    each = shape.in_flight == 1
    calls = {}
    for name, one in contestants.items():
        calls[name] = fewest = 2 * shape.in_flight
        for seconds in (pace.seconds / 4, pace.seconds):
            rate = one.client.run(one.server.url, shape, calls[name]).rate
            calls[name] = max(fewest, round(seconds * rate))

    def load(name: str, one: Contestant) -> tuple[int, Load]:
        return calls[name], one.client.run(one.server.url, shape, calls[name], each)

    return _in_turn(contestants, pace, judged, load)


def paced(contestants: Mapping[str, Contestant], rate: float, pace: Pace) -> dict[str, Result]:
    """Load of so many calls a second, whether others are done or not."""
    calls = round(pace.seconds * rate)

    def load(_: str, one: Contestant) -> tuple[int, Load]:
        return calls, one.client.run_open(one.server.url, calls, rate)

    for name, one in contestants.items():
        load(name, one)
    return _in_turn(contestants, pace, True, load)


def _in_turn(
    contestants: Mapping[str, Contestant], pace: Pace, judged: bool, load: Callable[[str, Contestant], tuple[int, Load]]
) -> dict[str, Result]:
    results = {name: Result() for name in contestants}
    # So that none always comes right behind the same other one.
    chance, order = random.Random(len(contestants)), list(contestants.items())
    fewest = max(pace.rounds, JUDGED_ROUNDS) if judged else pace.rounds
    for number in range(max(fewest, pace.most if judged else 0)):
        if number >= fewest and all(result.quiet_rounds for result in results.values()):
            break
        chance.shuffle(order)
        for name, one in order:
            watch, cpu, kernel = Watch(), one.server.cpu_seconds(), one.server.kernel_seconds()
            calls, answered = load(name, one)
            cpu, kernel = one.server.cpu_seconds() - cpu, one.server.kernel_seconds() - kernel
            result = results[name]
            result.rates.append(answered.rate)
            result.cpu.append(cpu / calls)
            result.kernel.append(kernel / calls)
            result.client_cpu.append(answered.client_cpu)
            result.others.append(watch.others(cpu + answered.client_cpu * calls))
            if answered.latencies is not None:
                result.medians.append(float(np.median(answered.latencies)))
                result.tails.append(float(np.quantile(answered.latencies, 0.99)))
            result.resident = one.server.resident_bytes()
    return results


def rate_target(text: str, ours: Result, theirs: Result, least: float) -> Target:
    """So many times their calls per second; not judged if there was no quiet round of both."""
    ratio = ours.rate / theirs.rate
    return quiet_target(text, times(ratio), ratio >= least, ours, theirs)


def quiet_target(text: str, measured: str, reached: bool, *results: Result) -> Target:
    """A target about time, which can be judged only if other programs left it alone."""
    others = max(result.others[result.best] for result in results)
    if others > QUIET:
        return Target(text, f"{measured}, but other programs took {others:.0%} of the cores", None)
    return Target(text, measured, reached)
