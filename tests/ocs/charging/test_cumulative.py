"""Counters that show all since the session began (RADIUS accounting), from the waist to the store and back."""

from __future__ import annotations

from typing import Any

import msgspec

from balances.redis.pending import Pending
from balances.structs.charge import Charge, Cumulative, Flag, Phase, Result
from balances.structs.session import Line
from ocs.charging.handle import handle
from ocs.charging.request import AskedLine, ChargingRequest, Origin, RequestKey, Style, Units, Used
from tariffs.inputs import Inputs
from tests.ocs.charging.world import EURO, NOW_MS, World, ready

MB = 2**20
WHO = ("msisdn:491700000001",)
GIGABIT_S = 125_000_000
SESSION = "nas;7;1700000000"


def packet(phase: Phase, shown: tuple[int, int] | None, message: int, **others: Any) -> ChargingRequest:
    """An accounting packet: octets in and out, without a number; what it wants is for us to say."""
    used = () if shown is None else tuple(
        Used(Units(octets=octets), counter=Cumulative(place, 2**32, GIGABIT_S)) for place, octets in enumerate(shown, 1)
    )  # fmt: skip
    wanted = None if phase is Phase.STOP else Units()
    return ChargingRequest(
        Origin("nas.example.net"),
        RequestKey(SESSION, message=message),
        phase,
        **{"identities": WHO, "event_ms": None, "lines": (AskedLine(None, None, wanted, used),)} | others,
        style=Style.COMMAND,
        inputs=Inputs("data"),
    )


def answered(world: World, request: ChargingRequest) -> Any:
    try:
        handle(request, world.context, world.now_ms).send(None)
    except StopIteration as stopped:
        return stopped.value
    raise AssertionError("it waited")


def opened() -> World:
    world = World()
    answered(world, packet(Phase.START, None, 1))
    world.now_ms += 60_000
    return world


def test_what_counters_gained_is_charged_and_granted_on() -> None:
    world = opened()
    first = answered(world, packet(Phase.UPDATE, (2 * MB, MB), 2))
    assert (first.result, first.lines[0].result, first.lines[0].granted is not None) == (Result.OK, Result.OK, True)
    assert world.balance() == 20 * EURO - 30_000
    world.now_ms += 60_000
    answered(world, packet(Phase.UPDATE, (3 * MB, MB), 3))
    assert world.balance() == 20 * EURO - 40_000
    answered(world, packet(Phase.STOP, (3 * MB, 2 * MB), 4))
    assert (world.balance(), world.held()) == (20 * EURO - 50_000, 0)


def test_a_packet_that_comes_again_gets_its_answer_and_an_old_one_charges_nothing() -> None:
    world = opened()
    packets = [packet(Phase.UPDATE, (number * MB, 0), number) for number in range(2, 9)]
    answers = [answered(world, one) for one in packets]
    assert answered(world, packets[-1]) == answers[-1]
    held = world.held()
    answered(world, packets[0])  # its answer is forgotten, its number too
    assert (world.balance(), world.held()) == (20 * EURO - 80_000, held)


def test_a_session_that_only_postgres_knows_is_not_charged_anew() -> None:
    """An interim that a NAS kept for hours, after the session and all that Redis remembers of it."""
    world = opened()
    answered(world, packet(Phase.UPDATE, (2 * MB, MB), 2))
    lines = msgspec.msgpack.decode(msgspec.msgpack.encode(world.model.sessions["a1"][SESSION].lines), type=list[Line])
    asked = list[str]()

    def lines_known(charge: Charge) -> Pending[list[Line]]:
        asked.append(charge.session)
        return ready(lines)

    world.context.lines_known = lines_known
    world.sessions_known = dict(world.wheres)
    world.model.sessions["a1"].clear()
    world.model.accounts["a1"].buckets[0].held = 0
    world.wheres.clear()
    world.now_ms += 60_000
    answer = answered(world, packet(Phase.STOP, (3 * MB, MB), 3))
    assert (answer.result, asked) == (Result.SESSION_UNKNOWN, [SESSION])
    assert answer.marks & Flag.UNMATCHED
    assert world.balance() == 20 * EURO - 40_000


def test_what_has_no_session_anywhere_is_charged_whole() -> None:
    world = World()
    answer = answered(world, packet(Phase.UPDATE, (2 * MB, MB), 2))
    assert (answer.result, world.balance()) == (Result.SESSION_UNKNOWN, 20 * EURO - 30_000)


def test_of_time_what_the_counter_gained_ends_with_the_report() -> None:
    world = World()
    voice: dict[str, Any] = {"inputs": Inputs("voice")}
    for phase, seconds, message in ((Phase.START, None, 1), (Phase.UPDATE, 60, 2), (Phase.STOP, 150, 3)):
        used = () if seconds is None else (Used(Units(seconds=seconds), counter=Cumulative(1, per_second=1)),)
        one = packet(phase, None, message, lines=(AskedLine(None, None, Units(), used),))
        answered(world, msgspec.structs.replace(one, **voice))
        world.now_ms += 60_000
    assert [charge.phase for charge in world.charged] == [Phase.START, Phase.UPDATE, Phase.STOP]
    assert world.model.sessions["a1"][SESSION].lines[0].total == 150
    usages = [usage for call in world.model.ledger for usage in call.record.usages]
    spans = [(usage.used, usage.at_ms - NOW_MS) for usage in usages if usage.used]
    assert spans == [(60, 60_000), (90, 120_000)]
