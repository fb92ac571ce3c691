"""An intent comes with its record, once, and goes when it was looked at."""

from __future__ import annotations

import pytest

from balances.ledger.intents import Intent, IntentId, expanded, intent_of, unexpanded
from balances.packing import fresh_account, pack
from balances.structs.record import Record, Short
from balances.structs.thresholds import Crossing, CrossingKind, CrossingOf
from tests.balances.ledger.books import NOW_MS, LedgerStores, session_of

MONEY = Short(0, 0)


def crossing(kind: CrossingKind, of: CrossingOf = CrossingOf.ACCOUNT) -> Crossing:
    return Crossing(kind, of, "", 0, -1)


def made(**fields: object) -> Intent | None:
    record = Record(1, "charge", "acc", "EUR", session="c", at_ms=9, **fields)  # type: ignore[arg-type]
    return intent_of(3, (5, 7), record, pack(fresh_account("acc", "EUR", generation=4)))


def test_what_a_record_gives_reason_to() -> None:
    refused = made(reauthorize=["holder"], short=[MONEY])
    assert refused == Intent(IntentId(3, 5, 7), "acc", 4, frozenset({"holder"}), 9, "c", frozenset({MONEY}))
    resumed = made(threshold_events=[crossing(CrossingKind.RESUME)], generation=5)
    assert resumed is not None
    assert (resumed.kinds, resumed.generation) == (frozenset({"resume", "final"}), 5)
    suspended = made(threshold_events=[crossing(CrossingKind.SUSPEND, CrossingOf.SERVICE)], generation=5)
    assert suspended is not None
    assert suspended.kinds == {"suspend"}
    barred = made(generation=5)
    assert barred is not None
    assert barred.kinds == {"changed"}


def test_most_records_ask_nothing_of_the_network() -> None:
    assert made() is None
    assert made(threshold_events=[crossing(CrossingKind.BELOW, CrossingOf.THRESHOLD)]) is None


async def test_it_is_written_with_its_record_and_read_again(books: LedgerStores) -> None:
    await books.open()
    await books.move("alice", -7, session=session_of("s;1", held=50), reauthorize=["holder"], short=[MONEY])
    await books.move("alice", 5)
    await books.move("bob", 5, reauthorize=["final"], generation=1)
    await books.sync.step()
    found = {one.account: one for one in await unexpanded(books.pool, 0, 10)}
    assert found["alice"].kinds == {"holder"}
    assert (found["alice"].session, found["alice"].short, found["alice"].crossed_ms) == (
        "s;1",
        frozenset({MONEY}),
        NOW_MS,
    )
    assert (found["bob"].kinds, found["bob"].generation, found["bob"].short) == (
        frozenset({"final"}),
        1,
        frozenset[Short](),
    )
    assert await unexpanded(books.pool, 60, 10) == []
    missing = IntentId(1, 2, 3)
    there = await expanded(books.pool, {found["alice"].id: 2, found["bob"].id: 0, missing: 1})
    assert there == {found["alice"].id, found["bob"].id}
    assert await unexpanded(books.pool, 0, 10) == []
    assert await books.pool.fetch("SELECT account, jobs FROM intents") == [("alice", 2)]


@pytest.mark.parametrize("times", [1, 2])
async def test_a_copy_that_is_cut_leaves_none_and_the_next_one_writes_it_once(
    books: LedgerStores, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    await books.open()
    await books.move("alice", 5, reauthorize=["final"])
    with monkeypatch.context() as broken:

        async def cut(*_: object) -> None:
            raise OSError("cut")

        broken.setattr("balances.ledger.put.events.append", cut)
        for _ in range(times):
            with pytest.raises(OSError, match="cut"):
                await books.sync.step()
            assert await books.count("intents") == 0
    assert (await books.sync.step()).written == 1
    assert await books.count("intents") == await books.count("calls") == 1
