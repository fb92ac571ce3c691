"""The steady path takes the usual requests, and nothing differs by it.

That it stores, records and answers what charge.lua does, octet for octet, is asserted by `Twins` at every call, here
and in all other tests of charges; here is what makes that worth something: that it is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import msgspec
import pytest

from balances import facts, keys
from balances.packing import fresh_account
from balances.redis import scripts
from balances.structs.account import MAIN, Bucket, Counter
from balances.structs.blob import NO_BLOB, raw_of
from balances.structs.charge import Ask, Charge, Flag, Phase
from balances.structs.session import WHOLE
from balances.structs.thresholds import ServiceSuspension, Threshold
from tariffs.ladder import Count, Ladder, Step, StepDues
from tariffs.units import Kind, Rounding
from tests.balances.rules.account_harness import ask, ladder, money, use
from tests.balances.twins import Twins, changed

ACCOUNT = "acc"
START_MS = 1_800_000_000_000
MEGABYTE = 1 << 20
HIT_RATE_LEAST = 0.9

DATA = Ladder((Step(Kind.MONEY, "data", 1024, 9_900, 1024, Rounding.UP),), tag="d@1", terms="tax=190000")
VOICE = Ladder((Step(Kind.MONEY, "voice", 60, 90_000),), tag="v@1")
FREE = Ladder((Step(Kind.MONEY, "data", 1, 0),), tag="f@1")
ODD = Ladder((Step(Kind.MONEY, "data", 7, 3, 1000, Rounding.HALF_UP),), tag="o@1")
TOLD = raw_of(facts.pack([(WHOLE, WHOLE, 1, "262")]))


def counting(library: scripts.Library) -> scripts.Library:
    """It counts how often the steady path is taken."""
    head = "function steady_write(KEYS, ARGV, found)"
    return changed(library, "counting", head, f"{head}\n  redis.call('INCR', 'taken')")


class Network:
    """Sessions and events of one account. `taken` of `sent` requests went by the steady path."""

    def __init__(self, url: str, **account: int) -> None:
        self.twins = Twins(url)
        self.twins.library = counting(scripts.LIBRARY)
        self.twins.redis.function_load(self.twins.library.text, replace=True)
        self.now_ms, self.sent, self.taken = START_MS, 0, 0
        self._numbers: dict[str, int] = {}
        self.status = ""
        self.granted: dict[tuple[str, int, int], int] = {}
        one = fresh_account(ACCOUNT, "EUR", **account)
        one.buckets[0].amount = 10**12
        self.change = one
        self._opened = False

    def open(self) -> None:
        assert self.twins.open(self.change) == "ok"
        self._opened = True

    def send(self, phase: Phase, *asks: Ask, session: str = "gw;1", **others: Any) -> bool:
        """Whether it went by the steady path."""
        if not self._opened:
            self.open()
        number = self._numbers[session] = self._numbers.get(session, -1) + 1
        key = f"{int(phase)}:{number}"
        fields: dict[str, Any] = {
            "account": ACCOUNT,
            "subscriber": "sub",
            "session": session,
            "service": "data",
            "phase": phase,
            "number": number,
            "key": key,
            "countable": True,
            "fingerprint": f"{self.sent:08x}",
            "end_to_end": self.sent,
            "resend": False,
            "now_ms": self.now_ms,
            "event_ms": self.now_ms - 400,
            "profile_rev": 1,
            "asks": list(asks),
            "peer": "gw",
            "realm": "r",
            "via": "dra",
            "once_key": f"{session} {key}" if phase == Phase.EVENT else "",
        }
        before = int(self.twins.redis.get("taken") or 0)
        self.status, outcome = self.twins.charge(Charge(**(fields | others)))
        for line in outcome.lines if outcome else []:
            self.granted[session, line.rating_group, line.service_id] = line.granted
        self.sent += 1
        taken = int(self.twins.redis.get("taken") or 0) - before
        self.taken += taken
        return bool(taken)

    def start(self, *asks: Ask, **others: Any) -> bool:
        return self.send(Phase.START, *asks, **others)

    def update(self, *asks: Ask, **others: Any) -> bool:
        self.now_ms += 30_000
        return self.send(Phase.UPDATE, *asks, **others)

    def stop(self, *asks: Ask, **others: Any) -> bool:
        self.now_ms += 30_000
        return self.send(Phase.STOP, *asks, **others)


@pytest.fixture
def network(redis_url: str) -> Iterator[Network]:
    made = Network(redis_url)
    yield made
    made.twins.close()


def data(rating_group: int = 10, used: int | None = None, by: Ladder = DATA, **others: Any) -> Ask:
    at = {"maximum": 10 * MEGABYTE, "default": MEGABYTE, "minimum": 1024} | others
    return ask(rating_group, used=used, by=by, at_ms=START_MS, **at)


def talk(used: int | None = None, at_ms: int = START_MS, **others: Any) -> Ask:
    return ask(20, used=used, by=VOICE, unit=Kind.SECONDS, at_ms=at_ms, **{"default": 300, "minimum": 30} | others)


# --- what is usual


def test_a_session_from_its_first_request_to_its_last(network: Network) -> None:
    """More updates than answers are kept."""
    assert network.start(data())
    for used in (1_000_000, 0, 1, 1024, 999_999, 524_288, 3):
        assert network.update(data(used=used))
    assert network.stop(ask(10, -1, used=500, by=DATA, at_ms=START_MS))


@pytest.mark.parametrize("lines", [1, 2, 3, 4])
def test_some_lines(network: Network, lines: int) -> None:
    groups = range(10, 10 + lines)
    by = (DATA, FREE, ODD, DATA)
    assert network.start(*(data(group, by=by[at]) for at, group in enumerate(groups)))
    for used in (5_000, 700_000):
        assert network.update(*(data(group, used + at, by=by[at]) for at, group in enumerate(groups)))
    assert network.stop(*(use(1 + at, group, by=by[at]) for at, group in enumerate(groups)))


def test_use_by_time(network: Network) -> None:
    assert network.start(talk())
    assert network.update(talk(61, network.now_ms))
    assert network.update(talk(120, network.now_ms, until_ms=network.now_ms + 3_600_000))
    assert network.update(talk(119, network.now_ms, until_ms=network.now_ms + 200_000))
    assert network.stop(use(7, 20, by=VOICE, unit=Kind.SECONDS, at_ms=network.now_ms))


@pytest.mark.parametrize("by", [ODD, FREE, VOICE], ids=lambda one: one.tag)
@pytest.mark.parametrize("unit", [Kind.UNITS, Kind.SECONDS])
def test_an_event(network: Network, by: Ladder, unit: Kind) -> None:
    for asked in (0, 1, 3, 61):
        assert network.send(Phase.EVENT, ask(30, asked, by=by, unit=unit, free=by is FREE), session=f"e{asked}")


def test_some_of_the_lines_are_named(network: Network) -> None:
    assert network.start(data(10), data(11), data(12))
    assert network.update(data(11, 5_000))
    assert network.update(data(10, 400), data(12, 1))
    assert network.update(data(10), data(12, 9)), "a grant without a report"
    assert network.update(data(10, 400), use(3, 12, by=DATA)), "a report without a grant"
    assert network.stop(use(1, 10, by=DATA), use(2, 11, by=DATA), use(0, 12, by=DATA))


def test_what_a_session_tells(network: Network) -> None:
    """Told again, or not: it is known."""
    assert network.start(data(), told=TOLD, facts=TOLD)
    assert network.update(data(used=5), told=TOLD, facts=TOLD)
    assert network.update(data(used=5), told=NO_BLOB, facts=TOLD)
    assert network.stop(use(5, by=DATA), facts=TOLD)


def test_what_is_free_and_what_is_flagged(network: Network) -> None:
    assert network.start(data(by=FREE, free=True), flags=Flag.EVENT_TIME)
    assert network.update(data(used=5, by=FREE, free=True), flags=Flag.EVENT_TIME)


def test_a_new_price_from_the_next_grant_on(network: Network) -> None:
    assert network.start(data())
    assert network.update(data(used=5, by=ODD))
    assert network.update(data(used=5, by=DATA))


def test_other_balances_and_counters_of_the_account(network: Network) -> None:
    """They stay as they are."""
    network.change.buckets.append(
        Bucket(1, Kind.OCTETS, 500, name="bundle", until_ms=START_MS + 10**9, scope=["music"])
    )
    network.change.counters.append(Counter("month", 7, 0, START_MS + 10**9))
    assert network.start(data())
    assert network.update(data(used=5))
    assert network.stop(use(5, by=DATA))


def test_credit_and_debt(redis_url: str) -> None:
    network = Network(redis_url, credit_limit=10**12)
    network.change.buckets[0].amount = -5
    assert network.start(data())
    assert network.update(data(used=500_000))
    network.twins.close()


def test_several_sessions_at_once(network: Network) -> None:
    for session in "abc":
        assert network.start(data(), talk(), session=session)
    for session in "cab":
        assert network.update(data(used=4_000), talk(60, network.now_ms), session=session)


def test_clients_and_networks_change(network: Network) -> None:
    """The last one that asked is the one that is asked to report; numbers may leap."""
    assert network.start(data(), origin_state=7)
    assert network.update(data(used=5), peer="gw2", via="dra2", realm="r2", origin_state=0)
    network._numbers["gw;1"] += 5
    assert network.update(data(used=5), peer="gw2", origin_state=9)
    assert network.stop(use(5, by=DATA), peer="gw3")


# --- what is not: nothing is written before that is known, and charge.lua decides

GRADED = ladder(money(1, grade="slow"))
TIERED = Ladder((Step(Kind.MONEY, "data", 1, 5, counter="c", counter_reach=10**9), Step(Kind.MONEY, "data", 1, 3)),
    counts=(Count("c"),))  # fmt: skip
SET_UP = Ladder((Step(Kind.MONEY, "data", 1, 5, dues=1),), (StepDues(fee=9),))


@pytest.mark.parametrize(
    "by", [GRADED, TIERED, SET_UP, Ladder(DATA.steps, counts=(Count("c"),)), Ladder(DATA.steps, slack=1)]
)
def test_another_tariff(network: Network, by: Ladder) -> None:
    assert not network.start(data(by=by))
    assert not network.update(data(used=5, by=by))


@pytest.mark.parametrize(
    "changes",
    [
        {"used": 2 * MEGABYTE},  # more than was granted
        {"used": -1},  # in another unit
        {"used": (1, 2)},
        {"blocks": True},
        {"change_ms": START_MS + 10**6},
        {"dearest": raw_of(msgspec.msgpack.encode(ODD))},
        {"flags": Flag.ROUNDED},
        {"service_id": 5},  # a new line
        {"unit": Kind.SECONDS},
        {"asked": 0, "by": None},
    ],
    ids=", ".join,
)
def test_another_line(network: Network, changes: dict[str, Any]) -> None:
    assert network.start(data())
    assert not network.update(data(**{"used": 5} | changes))
    network.update(data(used=5))


@pytest.mark.parametrize(
    "changes",
    [
        {"countable": False},
        {"subscriber": "other"},
        {"facts": TOLD},
        {"overrun_factor": 0},
    ],
    ids=", ".join,
)
def test_another_request(network: Network, changes: dict[str, Any]) -> None:
    assert network.start(data())
    if "facts" in changes:
        changes = changes | {"told": TOLD}
        assert network.update(data(used=5), **changes), "told for the first time"
        return
    assert not network.update(data(used=5), **changes)
    network.update(data(used=5))


@pytest.mark.parametrize("phase", [Phase.RECORD, Phase.START])
def test_use_that_is_over_and_a_second_beginning(network: Network, phase: Phase) -> None:
    assert network.start(data())
    assert not network.send(phase, data(used=5))


def test_a_line_that_holds_nothing_of_another_tariff(network: Network) -> None:
    """It keeps the ladder it was held by last."""
    network.start(data(10, by=SET_UP), data(11))
    network.update(use(5, 10, by=SET_UP))
    assert network.update(data(11, 5))
    network.update(ask(10, -1, by=None), data(11, 5))
    network.update(ask(10, -1, by=DATA), data(11, 5))


def test_a_repeat_and_one_that_comes_late(network: Network) -> None:
    assert network.start(data())
    assert network.update(data(used=5))
    assert not network.update(data(used=5), key="2:1", number=1, end_to_end=1), "the same again"
    assert network.status == "again"
    assert network.update(data(used=5))
    assert not network.update(data(used=5), key="2:2", number=2), "a number that was charged"


@pytest.mark.parametrize("amount", [0, 9, 4_000, 9_899, 9_900, 19_800, 30_000])
def test_little_money(redis_url: str, amount: int) -> None:
    network = Network(redis_url)
    network.change.buckets[0].amount = amount
    for by in (DATA, ODD):
        network.start(data(by=by), session=by.tag)
        network.update(data(by=by, used=network.granted.get((by.tag, 10, -1), 0)), session=by.tag)
        network.stop(use(0, by=by), session=by.tag)
    network.twins.close()


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_threshold(redis_url: str, left: int) -> None:
    """Charged to one above it, to it, and to one below it."""
    network = Network(redis_url, suspend_below=10**12 - 10 + left - 1)
    assert network.start(data(by=ladder(money(1))))
    assert network.update(data(by=ladder(money(1)), used=10)) == (left < 2)
    network.twins.close()


@pytest.mark.parametrize("left", [0, 1, 2])
@pytest.mark.parametrize("is_service", [False, True], ids=["threshold", "service"])
def test_what_somebody_is_told_about(redis_url: str, left: int, is_service: bool) -> None:
    """Far away it is taken; a crossing is charge.lua's; what is crossed already is passed by."""
    network = Network(redis_url)
    level = 10**12 - 20 + left - 1
    if is_service:
        network.change.services = [ServiceSuspension("voice", level, level)]
    else:
        network.change.thresholds = [
            Threshold("low", Kind.MONEY, level, level),
            Threshold("octets", Kind.OCTETS, 5, 5, crossed_ms=7),
        ]
    assert network.start(data(by=ladder(money(1))))
    assert network.update(data(by=ladder(money(1)), used=10))
    assert network.update(data(by=ladder(money(1)), used=10)) == (left < 2)
    assert network.update(data(by=ladder(money(1)), used=10)) == (left > 1)
    assert network.update(data(by=ladder(money(1)), used=10))
    network.twins.close()


def test_a_service_that_is_suspended(network: Network) -> None:
    network.change.services = [ServiceSuspension("data", 10**13, 10**13, 7)]
    assert not network.start(data())


@pytest.mark.parametrize("until_ms", [START_MS - 1, START_MS + 10_000, START_MS + 30_000, START_MS + 10**9])
def test_what_expires(network: Network, until_ms: int) -> None:
    network.change.buckets.append(Bucket(1, Kind.OCTETS, 500, until_ms=until_ms))
    assert network.start(data()) == (until_ms > network.now_ms)
    gone = not any(bucket.id != MAIN for bucket in network.twins.model.accounts[ACCOUNT].buckets)
    network.now_ms += 1
    assert network.update(data(used=5)) == (gone or until_ms > network.now_ms)


def test_a_second_balance_of_money(network: Network) -> None:
    network.change.buckets.append(Bucket(1, Kind.MONEY, 500))
    assert not network.start(data())
    assert not network.send(Phase.EVENT, ask(30, 1), session="e")


def test_use_by_time_beyond_the_reach_of_its_price(network: Network) -> None:
    assert network.start(talk(until_ms=START_MS + 40_000))
    assert not network.update(talk(50, START_MS + 40_001))


def test_an_older_epoch_is_fenced(network: Network) -> None:
    """The record is the first write, here too."""
    assert network.start(data())
    of = keys.AccountKeys(ACCOUNT)
    before = network.twins.redis.hgetall(of.account)
    network.twins.redis.xadd(of.ledger, {"r": b""}, id="9-0")
    charge = Charge(
        *(ACCOUNT, "sub", "gw;1", "data", Phase.UPDATE, 1, "2:1", True, "ff", 99, False),
        *(network.now_ms, network.now_ms, 1, [data(used=5)], "gw", "r", "dra"),
    )
    names = (of.account, of.due, of.ledger)
    function = network.twins.library.functions["charge"]
    taken = int(network.twins.redis.get("taken"))
    reply = network.twins.redis.fcall(function, len(names), *names, "8", msgspec.msgpack.encode(charge), b"")
    assert reply == [b"fenced"]
    assert network.twins.redis.hgetall(of.account) == before
    assert int(network.twins.redis.get("taken")) == taken + 1


# --- much of it


def random_line(rng: Random, network: Network, session: str, group: int) -> tuple[int, Ladder, Kind]:
    granted = network.granted.get((session, group, -1), 0)
    used = min(rng.choice((0, 1, granted, granted // 2, rng.randint(0, granted))), granted)
    if rng.random() < 0.02:
        used += granted + 1
    by = rng.choice((DATA, DATA, DATA, ODD, FREE)) if group < 20 else VOICE
    return used, by, Kind.OCTETS if group < 20 else Kind.SECONDS


def random_ask(rng: Random, network: Network, session: str, group: int, phase: Phase) -> Ask:
    used, by, unit = random_line(rng, network, session, group)
    asked = (
        -1
        if phase == Phase.STOP or (rng.random() < 0.03 and phase == Phase.UPDATE)
        else rng.choice((0, 0, 0, 7, 5_000))
    )
    return ask(
        group,
        asked,
        used=None if phase == Phase.START or rng.random() < 0.03 else used,
        by=by,
        unit=unit,
        at_ms=network.now_ms - rng.choice((0, 0, 900)),
        free=by is FREE,
        default=rng.choice((100, 300, MEGABYTE)),
        minimum=rng.choice((1, 30, 100)),
        maximum=rng.choice((0, 3_600, 10 * MEGABYTE)),
        priority=rng.randrange(3),
        validity_ms=rng.choice((60_000, 600_000)),
        whole=rng.random() < 0.02,
    )


@pytest.mark.parametrize("is_poor", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_nearly_all_of_usual_traffic_is_taken(redis_url: str, seed: int, is_poor: bool) -> None:
    """And where something else happens now and then, the two are still the same."""
    rng = Random(seed)
    network = Network(redis_url, credit_limit=rng.choice((0, 10**6)))
    network.change.buckets[0].amount = 10**7 if is_poor else 10**12
    open_: dict[str, list[int]] = {}
    for step in range(120):
        network.now_ms += rng.choice((0, 1, 1_000, 20_000))
        roll = rng.random()
        if roll < 0.1:
            asked = ask(30, rng.choice((0, 1, 2)), by=rng.choice((ODD, VOICE)), unit=Kind.UNITS)
            network.send(Phase.EVENT, asked, session=f"e{step}")
        elif roll < 0.2 or not open_:
            session = f"s{step}"
            open_[session] = rng.sample((10, 11, 12, 20), rng.choice((1, 1, 1, 2, 3, 4)))
            network.send(
                Phase.START,
                *(random_ask(rng, network, session, group, Phase.START) for group in open_[session]),
                session=session,
            )
        else:
            session = rng.choice([*open_])
            phase = Phase.STOP if rng.random() < 0.1 else Phase.UPDATE
            groups = [group for group in open_[session] if phase == Phase.STOP or rng.random() < 0.9] or open_[session]
            network.send(phase, *(random_ask(rng, network, session, group, phase) for group in groups), session=session)
            if phase == Phase.STOP:
                del open_[session]
    assert is_poor or network.taken >= HIT_RATE_LEAST * network.sent, (network.taken, network.sent)
    network.twins.close()
