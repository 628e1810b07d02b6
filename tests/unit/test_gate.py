"""Who is let in by the engines in Python."""

import logging
import threading
import time
from collections import Counter

import pytest

from ovms.access import rates as rates_module
from ovms.access.gate import NOT_ALLOWED, WANTED, Gate, presented_keys
from ovms.access.keys import Scope, parse_keys
from ovms.access.rates import Rates
from ovms.access.refusals import Refusals, Refused
from ovms.errors import Code
from ovms.frontends.admission import peer_address

PREDICT, ADMIN = "p" * 16, "a" * 16
KEYS = parse_keys("keys", f"p predict {PREDICT}\na admin {ADMIN}".encode())


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic_ns(self) -> int:
        return round(self.now * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rates_module, "time", clock)
    return clock


@pytest.fixture
def gate() -> Gate:
    gate = Gate(True, 0)
    gate.set_keys(KEYS)
    return gate


@pytest.mark.parametrize(
    ("scope", "presented", "why"),
    [
        (Scope.OPEN, [], None),
        (Scope.OPEN, ["wrong"], None),
        (Scope.PREDICT, [PREDICT], None),
        (Scope.ADMIN, [ADMIN], None),
        (Scope.PREDICT, [ADMIN], Refused.SCOPE),
        (Scope.ADMIN, [PREDICT], Refused.SCOPE),
        (Scope.METRICS, [ADMIN], Refused.SCOPE),
        (Scope.PREDICT, [], Refused.NO_KEY),
        (Scope.PREDICT, [""], Refused.WRONG_KEY),
        (Scope.PREDICT, [PREDICT[:-1]], Refused.WRONG_KEY),
        (Scope.PREDICT, [PREDICT + "p"], Refused.WRONG_KEY),
        (Scope.PREDICT, ["x" * 100_000], Refused.WRONG_KEY),
        (Scope.PREDICT, ["\u00e9\u4e00"], Refused.WRONG_KEY),
        (Scope.PREDICT, [PREDICT, PREDICT], Refused.WRONG_KEY),
        (Scope.PREDICT, [f"{PREDICT}, {PREDICT}"], Refused.WRONG_KEY),
    ],
)
def test_keys_and_scopes(gate: Gate, scope: Scope, presented: list[str], why: Refused | None) -> None:
    assert gate.judge(scope, presented, "") is why


def test_keys_change(gate: Gate) -> None:
    gate.set_keys(KEYS[1:])
    assert gate.judge(Scope.PREDICT, [PREDICT], "") is Refused.WRONG_KEY
    assert gate.judge(Scope.ADMIN, [ADMIN], "") is None


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "keys"),
    [
        ([], [], []),
        (["Bearer k"], [], ["k"]),
        (["bEARER   k"], [], ["k"]),
        (["Bearer "], [], [""]),
        (["Bearer"], [], []),
        (["Bearerk"], [], []),
        (["Basic dTpw"], ["k"], ["k"]),
        (["Bearer k"], ["l"], ["k", "l"]),
    ],
)
def test_headers(authorization: list[str], x_api_key: list[str], keys: list[str]) -> None:
    assert presented_keys(authorization, x_api_key) == keys


def test_errors() -> None:
    gate = Gate(True, 2.5)
    told = {why: (gate.error(why).code, gate.error(why).message) for why in Refused if why is not Refused.CONNECTIONS}
    assert told == {
        Refused.NO_KEY: (Code.UNAUTHENTICATED, WANTED),
        Refused.WRONG_KEY: (Code.UNAUTHENTICATED, WANTED),
        Refused.SCOPE: (Code.PERMISSION_DENIED, NOT_ALLOWED),
        Refused.RATE: (Code.RESOURCE_EXHAUSTED, "more than 2.5 requests per second; try again later"),
    }


def passed(take: object, times: int) -> int:
    return sum(take() for _ in range(times))  # type: ignore[operator]


def test_a_second_of_requests_may_come_at_once_and_then_one_by_one(clock: Clock) -> None:
    rates = Rates(10)
    assert passed(lambda: rates.take_for_key("k"), 50) == 10
    assert passed(lambda: rates.take_for_key("l"), 50) == 10
    clock.now += 0.35
    assert passed(lambda: rates.take_for_key("k"), 50) == 3
    clock.now += 1000
    assert passed(lambda: rates.take_for_key("k"), 50) == 10


def test_less_than_one_a_second(clock: Clock) -> None:
    rates = Rates(0.1)
    assert passed(lambda: rates.take_for_key("k"), 5) == 1
    clock.now += 9.9
    assert passed(lambda: rates.take_for_key("k"), 5) == 0
    clock.now += 0.2
    assert passed(lambda: rates.take_for_key("k"), 5) == 1


def test_a_key_keeps_its_bucket_when_others_change(clock: Clock) -> None:
    gate = Gate(True, 2)
    gate.set_keys(KEYS)
    assert [gate.judge(Scope.PREDICT, [PREDICT], "") for _ in range(3)] == [None, None, Refused.RATE]
    gate.set_keys(KEYS[:1])
    assert gate.judge(Scope.PREDICT, [PREDICT], "") is Refused.RATE
    gate.set_keys(KEYS[1:])
    gate.set_keys(KEYS)  # it was gone meanwhile
    assert gate.judge(Scope.PREDICT, [PREDICT], "") is None


def test_addresses_have_a_bucket_each(clock: Clock) -> None:
    gate = Gate(False, 1)
    for address in ("10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8:0:1::1", ""):
        assert gate.judge(Scope.PREDICT, [], address) is None, address
        assert gate.judge(Scope.PREDICT, [], address) is Refused.RATE, address
        assert gate.judge(Scope.OPEN, [], address) is None
    for same in ("::ffff:10.0.0.1", "2001:db8::2", "2001:db8::ffff:1"):
        assert gate.judge(Scope.PREDICT, [], same) is Refused.RATE, same


def test_many_addresses_hardly_ever_disturb_another(clock: Clock) -> None:
    rates = Rates(1)
    for number in range(2000):
        rates.take_for_address(f"10.1.{number >> 8}.{number & 255}")
    # Each of 2,000 clients leaves two places of 65,536 empty: both of one's own are among these once in 270.
    refused = sum(not rates.take_for_address(f"10.2.{number >> 8}.{number & 255}") for number in range(1000))
    assert refused < 100


def test_threads_together_get_no_more_than_there_is(clock: Clock) -> None:
    rates = Rates(1000)
    counts: Counter[int] = Counter()

    def ask(number: int) -> None:
        counts[number] = passed(lambda: rates.take_for_key("k"), 500)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts.values()) == 1000


def test_refusals_are_counted_and_told_about_once_a_second(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    refusals = Refusals("REST")
    for _ in range(1000):
        refusals.count(Refused.WRONG_KEY, "::ffff:10.0.0.1")
    now += 1.0
    refusals.count(Refused.NO_KEY, "")
    assert [record.getMessage() for record in caplog.records] == [
        "REST: 10.0.0.1 was refused: a wrong API key (1 refusal since the last such line)",
        "REST: a client of the Unix socket was refused: no API key (1000 refusals since the last such line)",
    ]
    assert refusals.counts() == {"no_key": 1, "wrong_key": 1000, "scope": 0, "rate": 0, "connections": 0}


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:1234", "127.0.0.1"),
        ("ipv6:%5B2001:db8::1%5D:1234", "2001:db8::1"),
        ("unix:", ""),
        ("unix:/tmp/s", ""),
    ],
)
def test_addresses_as_grpcio_writes_them(peer: str, address: str) -> None:
    assert peer_address(peer) == address
