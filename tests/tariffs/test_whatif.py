"""Recorded use rated again: what changes nothing gives exactly the same, what changes something what charging would."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
import pytest

from balances.ledger import history
from balances.structs.account import Bucket
from balances.structs.charge import Phase
from balances.structs.charge import Result as ChargeResult
from protocol.diameter.dictionary.credit_control import RequestedServiceUnit
from tariffs.catalog import Assignment
from tariffs.load import load_tariff
from tariffs.tariff import Tariff
from tariffs.whatif import replay as engine
from tariffs.whatif.line import ReplayedGrant
from tariffs.whatif.prices import Ladders, Prices, versions_of
from tariffs.whatif.replay import AGAIN, KEPT, NOT_SOLD, SAME, UNSAID, Replay, ReplayedPiece, Result
from tests.ocs.charging.wire import DATA, SMS, VOICE, E, I, T, U, lines, mscc
from tests.ocs.charging.world import World
from tests.tariffs.recorded import exchanges_none, instants_of, recorded, replay
from tests.tariffs.traffic import DEBIT, MB, REFUND, Traffic, random_tariff

FLAT = """
tariff = "t"
currency = "EUR"
[[rows]]
when = { service = "data" }
flat = { price = "0.01", per = "1 MB" }
[[rows]]
when = { service = "sms" }
flat = { price = "0.07", per = "1 message" }
[[rows]]
when = { service = "voice" }
flat = { price = "0.06", per = "1 min", increment = "60/1" }
"""


def draft(text: str, version: int = 9) -> Tariff:
    return load_tariff(text, source="draft.toml", version=version)


def again(world: World, text: str, *stored: Tariff, **how: Any) -> list[Result]:
    pieces, ladders = recorded(world.model)
    return replay(pieces, ladders, draft(text), *stored, **how)


def costs(results: Sequence[Result]) -> list[tuple[int, int]]:
    """(recorded, new)"""
    return [(row[engine.COST], new) for row, _, new, _, _ in results]


def session(world: World, *used: int, name: str = "gw.example.net;1;1", context: str = DATA, **fields: Any) -> None:
    """An INITIAL, an UPDATE for each use but the last, and that with the TERMINATION."""
    unit = "cc_time" if context == VOICE else "cc_total_octets"
    given = {"session_id": name, "service_context_id": context} | fields
    world.send(I, **given, **lines(mscc(10, ask={})))
    for number, units in enumerate(used, 1):
        world.now_ms += 60_000
        last = number == len(used)
        asks: dict[str, Any] = {} if last else {"ask": {}}
        world.send(T if last else U, cc_request_number=number, **given, **lines(mscc(10, used={unit: units}, **asks)))


# --- nothing changes


@pytest.mark.parametrize("seed", range(24))
def test_a_draft_equal_to_the_tariff_changes_nothing_for_anybody(seed: int) -> None:
    rng = Random(seed)
    text = random_tariff(rng)
    traffic = Traffic(rng, text)
    traffic.run(80)
    pieces, ladders = recorded(traffic.world.model)
    results = replay(pieces, ladders, draft(text), instants=instants_of(traffic.world.model))
    assert len(results) > 10
    for row, _, new, how, _ in results:
        assert (new, how) == (row[engine.COST], SAME), row


@pytest.mark.parametrize("seed", range(100, 108))
def test_nor_where_nobody_remembers_when_a_call_was_made(seed: int) -> None:
    """Clients that do not say what was used before and after a change: then the records say all of it."""
    rng = Random(seed)
    text = random_tariff(rng, simple=True)
    traffic = Traffic(rng, text, told=False)
    traffic.run(80)
    pieces, ladders = recorded(traffic.world.model)
    changed = [row for row, _, new, _, _ in replay(pieces, ladders, draft(text)) if new != row[engine.COST]]
    assert changed == []


@pytest.mark.parametrize("seed", range(300, 308))
def test_nor_where_sessions_are_rounded(seed: int) -> None:
    rng = Random(seed)
    text = random_tariff(rng, simple=True, sums=True)
    traffic = Traffic(rng, text)
    traffic.run(80)
    pieces, ladders = recorded(traffic.world.model)
    for row, _, new, how, _ in replay(pieces, ladders, draft(text), instants=instants_of(traffic.world.model)):
        assert (new, how) == (row[engine.COST], SAME), row


# --- something changes


@pytest.mark.parametrize("seed", range(24))
def test_what_would_have_been_charged_is_what_charging_charges(seed: int) -> None:
    """The same requests, once charged by one tariff and rated again by another, once charged by that other one."""
    rng = Random(seed)
    one, other = random_tariff(rng, simple=True), random_tariff(rng, simple=True, sums=seed % 2 == 1)
    charged, wanted = (Traffic(Random(seed), text, rich=True, bundles=False, told=False) for text in (one, other))
    charged.run(60)
    wanted.send_again(charged.sent)
    pieces, ladders = recorded(charged.world.model)
    expected = {row[:4]: row[engine.COST] for row, _ in recorded(wanted.world.model)[0]}
    for row, _, new, _, why in replay(pieces, ladders, draft(other), instants=instants_of(charged.world.model)):
        assert why == ""
        assert new == expected[tuple(row[:4])], row


def test_a_doubled_price_doubles() -> None:
    world = World(FLAT)
    session(world, 5 * MB, 3 * MB, 1, context=DATA)
    session(world, 61, name="gw.example.net;2;1", context=VOICE)
    world.send(E, session_id="x;1;1", service_context_id=SMS, requested_action=DEBIT)
    doubled = FLAT.replace('"0.0', '"0.0 ').replace('"0.0 1"', '"0.02"').replace('"0.0 7"', '"0.14"')
    found = costs(again(world, doubled.replace('"0.0 6"', '"0.12"')))
    assert found == [(50_000, 100_000), (30_000, 60_000), (10_000, 20_000), (61_000, 122_000), (70_000, 140_000)]


def test_one_line_that_differs_in_its_middle() -> None:
    """The draft is dearer at night: what was used by day costs the same, and the line goes on from there."""
    world = World(FLAT)
    session(world, *[MB // 2] * 6)  # blocks of a megabyte: every second report is paid already
    hours = '[bands.late]\nhours = ["23:17-06:00"]\n'  # the world begins at 23:13:20 in Berlin
    late = FLAT.replace("[[rows]]", f'{hours}[[rows]]\nname = "late"\nwhen = {{ service = "data", time = "late" }}\n'
                                    'flat = { price = "0.10", per = "1 MB" }\n[[rows]]', 1)  # fmt: skip
    assert costs(again(world, late)) == [
        (10_000, 10_000), (0, 0), (10_000, 10_000), (0, 0), (10_000, 100_000), (0, 0),
    ]  # fmt: skip


def test_a_set_up_fee_and_a_maximum_are_due_once_for_a_line() -> None:
    world = World(FLAT)
    session(world, MB, MB, MB, MB)
    fee = FLAT.replace('per = "1 MB" }', 'per = "1 MB" }\nsetup = { fee = "1" }\nmaximum = { charge = "0.025" }')
    assert [new for _, new in costs(again(world, fee))] == [1_010_000, 10_000, 5_000, 0]


def test_lines_of_a_session_are_rounded_together_again() -> None:
    """Six megabytes at 0.01: the sum of each report, to five cents up."""
    world = World(FLAT)
    session(world, MB, MB, MB, 3 * MB)
    rounded = FLAT.replace('per = "1 MB" }', 'per = "1 MB" }\nround = { to = "0.05", rounding = "up", of = "session" }')
    assert costs(again(world, rounded)) == [(10_000, 50_000), (10_000, 0), (10_000, 0), (30_000, 50_000)]


# --- not sold, not controlled, not said


def test_without_a_row_or_barred_it_would_have_been_refused() -> None:
    world = World(FLAT)
    session(world, MB)
    no_row = FLAT.replace('service = "data"', 'service = "mms"')
    assert [(new, how, why) for _, _, new, how, why in again(world, no_row)] == [
        (0, NOT_SOLD, "no row of the tariff matches")
    ]
    barred = FLAT.replace('flat = { price = "0.01", per = "1 MB" }', "barred = true")
    assert [(new, how, why) for _, _, new, how, why in again(world, barred)] == [(0, NOT_SOLD, "barred")]
    free = FLAT.replace('flat = { price = "0.01", per = "1 MB" }', "uncontrolled = true")
    assert [(new, how, why) for _, _, new, how, why in again(world, free)] == [(0, AGAIN, "")]


def test_in_another_unit_it_cannot_be_said() -> None:
    world = World(FLAT)
    session(world, MB)
    by_time = FLAT.replace('price = "0.01", per = "1 MB"', 'price = "0.01", per = "1 min"')
    assert [(new, how, why) for _, _, new, how, why in again(world, by_time)] == [
        (10_000, UNSAID, "it would have been counted in another unit")
    ]


def test_another_currency_needs_a_rate() -> None:
    world = World(FLAT)
    session(world, MB)
    ((_, _, new, how, why),) = again(world, FLAT.replace("EUR", "USD"))
    assert (new, how, why) == (0, NOT_SOLD, "no exchange rate from USD into EUR")


# --- whose tariff


def test_tariffs_that_stay_keep_their_cost_unless_the_draft_stands_for_them() -> None:
    other = FLAT.replace('"t"', '"other"')
    world = World(FLAT, other)
    for name, tariff in (("1", "t"), ("2", "other")):
        world.subscriber("msisdn:491700000001", assignments=(Assignment(tariff),))
        session(world, MB, name=f"gw.example.net;{name};1")
    dear = FLAT.replace("0.01", "0.05")
    assert [(new, how) for _, _, new, how, _ in again(world, dear)] == [(50_000, AGAIN), (10_000, KEPT)]
    assert [new for _, new in costs(again(world, dear, places=["other"]))] == [50_000, 50_000]


PROMOTION = """
tariff = "april"
currency = "EUR"
promotion = true
[[discounts]]
name = "half"
percent = 50
"""


def test_promotions_of_the_record_are_applied_and_can_be_the_draft() -> None:
    world = World(FLAT, PROMOTION)
    session(world, MB)
    assert recorded(world.model)[0][-1][0][engine.TAG] == "t@1+april@1:1"
    promotion, flat = draft(PROMOTION, 1), draft(FLAT, 1)
    assert costs(again(world, FLAT.replace("0.01", "0.05"), promotion)) == [(5_000, 25_000)]
    assert costs(again(world, FLAT, promotion)) == [(5_000, 5_000)]
    assert costs(again(world, PROMOTION.replace("50", "10"), flat)) == [(5_000, 9_000)]
    ((_, _, new, how, _),) = again(world, FLAT.replace("0.01", "0.05"))  # the promotion is not stored
    assert (new, how) == (5_000, UNSAID)


def test_tags() -> None:
    assert [*versions_of("data@3+april.26@12:row+other")] == [("data", 3), ("april.26", 12)]
    assert [*versions_of("money")] == [*versions_of("")] == [*versions_of("~suspense")] == []


def test_the_versions_that_are_published_each_in_its_time() -> None:
    world = World(FLAT)
    session(world, MB)
    world.now_ms += 3_600_000
    session(world, MB, name="gw.example.net;2;1")
    later = 'currency = "EUR"\nvalid_from = 2023-11-14T22:45:00Z'
    versions = [draft(FLAT.replace('currency = "EUR"', later).replace("0.01", "0.03"), 2), draft(FLAT, 1)]
    pieces, ladders = recorded(world.model)
    known = Ladders()
    for key, packed in ladders.items():
        known.add(key, packed)
    prices = Prices({"t": versions}, {}, exchanges_none(), {})
    assert costs(Replay(prices, known).run(pieces)) == [(10_000, 10_000), (10_000, 30_000)]


# --- what was given back


def test_a_refund_is_the_same_part_of_the_new_price() -> None:
    world = World(FLAT)
    three = {"requested_service_unit": RequestedServiceUnit(cc_service_specific_units=3)}
    one = {"requested_service_unit": RequestedServiceUnit(cc_service_specific_units=1)}
    world.send(E, session_id="x;1;1", service_context_id=SMS, requested_action=DEBIT, **three)
    for number, part in ((1, one), (2, {})):
        world.send(
            E, session_id="x;1;1", service_context_id=SMS, requested_action=REFUND, cc_request_number=number, **part
        )
    assert costs(again(world, FLAT)) == [(210_000, 210_000), (-70_000, -70_000), (-140_000, -140_000)]
    dear = FLAT.replace("0.07", "0.10")
    assert costs(again(world, dear)) == [(210_000, 300_000), (-70_000, -100_000), (-140_000, -200_000)]
    gone = FLAT.replace('service = "sms"', 'service = "mms"')
    assert costs(again(world, gone)) == [(210_000, 0), (-70_000, 0), (-140_000, 0)]


def test_of_which_event_may_be_said_by_the_call() -> None:
    world = World(FLAT)
    sent = world.send(
        E, session_id="x;1;1", service_context_id=SMS, requested_action=DEBIT, **lines(mscc(None, ask={}))
    )
    token = sent.multiple_services_credit_control[0].refund_information
    back = {"requested_action": REFUND, "session_id": "y;1;2", "service_context_id": SMS}
    world.send(E, **back, **lines(mscc(None, refund_information=token)))
    pieces, ladders = recorded(world.model)
    prices = Prices({"t": (draft(FLAT.replace("0.07", "0.10")),)}, {}, exchanges_none(), {})
    known = Ladders()
    for key, packed in ladders.items():
        known.add(key, packed)
    assert costs(Replay(prices, known).run(pieces)) == [(70_000, 100_000), (-70_000, -70_000)]
    event, refund = ((row[0], row[1], row[2]) for row, _ in pieces)
    replaying = Replay(prices, known)
    assert [row[engine.COST] for row in replaying.wants(pieces).originals] == [-70_000]
    assert costs(replaying.run(pieces, originals={refund: event})) == [(70_000, 100_000), (-70_000, -100_000)]


# --- counters and bundles

TIER = FLAT.replace(
    "[[rows]]",
    '[counters.month]\ncounts = "octets"\nperiod = "month"\n[[rows]]\nwhen = { service = "data" }\n'
    'below = { month = "2 MB" }\nflat = { price = "0.04", per = "1 MB" }\n[[rows]]',
    1,
)


def test_counters_begin_where_the_records_say_and_unknown_ones_at_0() -> None:
    world = World(TIER)
    session(world, MB)
    session(world, MB, MB, name="gw.example.net;2;1")
    pieces, ladders = recorded(world.model)
    assert [row[engine.COST] for row, _ in pieces if row[engine.USED]] == [40_000, 40_000, 10_000]
    dear = draft(TIER.replace("0.04", "0.05"))
    first = next(place for place, (row, _) in enumerate(pieces) if row[engine.SESSION].endswith("2;1"))
    assert costs(replay(pieces[first:], ladders, dear)) == [(40_000, 50_000), (10_000, 10_000)]
    renamed = draft(TIER.replace("month ", "other ").replace("counters.month", "counters.other"))
    assert costs(replay(pieces[first:], ladders, renamed)) == [(40_000, 40_000), (10_000, 40_000)]


def test_a_cap_on_money_is_reached_sooner_when_prices_rise() -> None:
    cap = TIER.replace('counts = "octets"', 'counts = "money"').replace('"2 MB"', '"0.08"').replace("0.01", "0")
    world = World(cap)
    session(world, MB, MB, MB)
    session(world, MB, name="gw.example.net;2;1")
    found = costs(again(world, cap.replace('"0.04"', '"0.06"')))
    assert found == [(40_000, 60_000), (40_000, 20_000), (0, 0), (0, 0)]


BUNDLE = FLAT.replace("[[rows]]", '[[rows]]\nwhen = { service = "data" }\nbundle = { per = "1 MB" }\n[[rows]]', 1)


def test_units_of_a_bundle_are_there_as_far_as_they_paid_for_the_line() -> None:
    world = World(BUNDLE)
    world.model.accounts["a1"].buckets.insert(0, Bucket(7, 1, 2 * MB, priority=50))
    session(world, 1, MB, MB, MB)
    pieces, ladders = recorded(world.model)
    assert [row[engine.COST] for row, _ in pieces] == [0, 0, 0, 10_000, 10_000]
    assert costs(replay(pieces, ladders, draft(BUNDLE)))[-1] == (10_000, 10_000)
    finer = BUNDLE.replace('bundle = { per = "1 MB" }', 'bundle = { per = "1 KB" }').replace("0.01", "0.03")
    assert [new for _, new in costs(replay(pieces, ladders, draft(finer)))] == [0, 0, 30_000, 30_000]
    dearer = BUNDLE.replace("0.01", "0.03")
    assert [new for _, new in costs(replay(pieces, ladders, draft(dearer)))] == [0, 0, 30_000, 30_000]


# --- lines that had begun before


def test_a_line_that_had_begun_is_placed_and_its_grant_looked_up() -> None:
    world = World(FLAT)
    session(world, MB // 2, MB // 2, MB // 2, context=DATA)
    pieces, ladders = recorded(world.model)
    known = Ladders()
    for key, packed in ladders.items():
        known.add(key, packed)
    prices = Prices({"t": (draft(FLAT.replace("0.01", "0.03")),)}, {}, exchanges_none(), {})
    late = Replay(prices, known)
    ((line, row),) = late.wants(pieces[2:]).grants.items()
    assert line == ("a1", "gw.example.net;1;1", 1, 10, -1, 0)
    before = pieces[1][0]
    assert row[engine.N] == before[engine.N] + 1
    grant = ReplayedGrant(*(before[place] for place in (
        engine.AT_MS, engine.GROUP, engine.SERVICE_ID, engine.INPUTS, engine.LADDER, engine.UNIT)))  # fmt: skip
    assert costs(late.run(pieces[2:], {line: grant})) == [(0, 0), (10_000, 30_000)]
    assert late.estimated == 1
    assert not any(late.wants(pieces[3:]))


def test_in_several_runs_it_is_the_same() -> None:
    rng = Random(7)
    one, other = random_tariff(rng), random_tariff(rng)
    traffic = Traffic(rng, one)
    traffic.run(60)
    pieces, ladders = recorded(traffic.world.model)
    known = Ladders()
    for key, packed in ladders.items():
        known.add(key, packed)
    prices = Prices({"t": (draft(other),)}, {}, exchanges_none(), {})
    whole = Replay(prices, known).run(pieces)
    cut = Replay(prices, known)
    parts = [result for at in range(0, len(pieces), 7) for result in cut.run(pieces[at : at + 7])]
    assert parts == whole


# --- agreements with what stands elsewhere


def test_pieces_are_what_is_read() -> None:
    assert ReplayedPiece._fields == (*history.COLUMNS, *history.PAID)


def test_numbers_are_those_of_the_balances() -> None:
    phases = Phase.UPDATE, Phase.STOP, Phase.EVENT, Phase.RECORD
    assert phases == (engine.UPDATE, engine.STOP, engine.EVENT, engine.RECORD)
    assert ChargeResult(engine.CREDIT_LIMIT) is ChargeResult.CREDIT_LIMIT


def test_a_ladder_that_cannot_be_read_is_none() -> None:
    known = Ladders()
    known.add(b"x", msgspec.msgpack.encode({"of": "another age"}))
    assert known.get(b"x") is None
    assert known.get(None) is None
