"""Random offers and contracts, settled by keepers that are killed, late, away for months, and two at once: what was
taken is what the rules say, and no period was taken twice."""

from __future__ import annotations

import asyncio
import copy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
import pytest

from balances.keys import FeeKey
from balances.model.store import Model
from balances.packing import fresh_account
from balances.structs.account import MAIN
from balances.structs.blob import raw_of
from balances.structs.posting import AccountOpening, Fee, FeeOutcome, Post, Posting
from ocs.fees.assignment import FeeAssignment, FeeLooker, FeeProgress, TriedFee, read_progress, write_progress
from tariffs.catalog import Catalog
from tariffs.load import compile_tariff
from tariffs.units import Kind
from tests.balances.twins import check_entries
from tests.ocs.fees.oracle import Contract, Offer, charged

ZONES = ("UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Auckland")
EVERY = ("day", "week", "month", "month from 31", "month from start", "30 d", "once")
DAY_MS = 86_400_000


class Killed(Exception):
    """The keeper ends here."""


class FeeWorld:
    """One account and the row of its assignment, as PostgreSQL has it: what is not written is not remembered."""

    def __init__(self, rng: Random, catalog: Catalog, of: FeeAssignment) -> None:
        self.rng, self.catalog, self.of = rng, catalog, of
        self.row = write_progress(of.progress)
        self.due_ms: int | None = of.began_ms
        self.model = Model()
        opening = AccountOpening(raw_of(msgspec.msgpack.encode(fresh_account("acc", "EUR"))), [], [], 0, "open")
        assert self.model.open("acc", opening).status == "ok"
        money = Posting(MAIN, Kind.MONEY, 10**12, "top-up", "top-up")
        self.model.post(Post("acc", "", "", 0, 1, "", "", "", [money]))

    async def look(self, now_ms: int, *, ended_ms: int, stale: bytes | None = None) -> None:
        """A keeper looks, and may be killed before or after any call, and before it has written what came of it."""

        async def take(fee: Fee, _progress: FeeProgress) -> TriedFee:
            if self.rng.random() < 0.1:
                raise Killed
            reply = self.model.fee(fee)
            if self.rng.random() < 0.1:
                raise Killed
            outcome = msgspec.msgpack.decode(reply.outcome, type=FeeOutcome)
            return TriedFee(outcome.mark, outcome.result)

        of = self.of._replace(progress=read_progress(stale or self.row), ended_ms=ended_ms)
        try:
            came = await FeeLooker(self.catalog, of, now_ms, take).look()
        except Killed:
            return
        if self.rng.random() < 0.1:
            return
        self.row, self.due_ms = write_progress(of.progress), came.due_ms

    def taken(self) -> dict[str, list[int]]:
        """By the first day of the period: what each record took of it, or gave back."""
        found: dict[str, list[int]] = {}
        for appended in self.model.ledger:
            record = appended.record
            if record.kind == "fee":
                amount = -sum(entry.amount for entry in record.entries if entry.why == "fee")
                found.setdefault(FeeKey.of(record.key).from_day, []).append(amount)
        return found


def drawn(rng: Random) -> tuple[Offer, Contract, Catalog, FeeAssignment]:
    offer = Offer(
        rng.choice(EVERY),
        Decimal(rng.randint(1, 5_000)) / 100,
        rng.random() < 0.6,
        frozenset(one for one in ("first", "changed", "last") if rng.random() < 0.7),
    )
    began = datetime(2026, rng.randint(1, 12), rng.randint(1, 28), rng.randrange(24), 30, tzinfo=UTC)
    ended = began + timedelta(hours=rng.randint(1, 3_000)) if rng.random() < 0.6 else None
    contract = Contract(rng.choice(ZONES), began, ended, rng.random() < 0.3, rng.random() < 0.3)
    fee: dict[str, Any] = {
        "name": "base",
        "price": str(offer.price),
        "every": offer.every,
        "due": "advance" if offer.advance else "arrears",
        "prorate": sorted(offer.prorate),
    }
    tariff = compile_tariff({"tariff": "t", "currency": "EUR", "fees": [fee]}, source="t")
    of = FeeAssignment(
        1, "acc", "sub", "t", ms(began), 0, contract.begins_by_change, contract.ends_by_change,
        0, {}, "EUR", contract.zone, 1, {}, (),
    )  # fmt: skip
    return offer, contract, Catalog([tariff]), of


def ms(at: datetime) -> int:
    return int(at.timestamp()) * 1_000


@pytest.mark.parametrize("seed", range(150), ids=lambda seed: f"seed{seed}")
def test_what_is_taken_is_what_the_rules_say(seed: int) -> None:
    rng = Random(seed)
    offer, contract, catalog, of = drawn(rng)
    world = FeeWorld(rng, catalog, of)
    known_ms = ms(contract.ended) if contract.ended and rng.random() < 0.5 else 0  # or it is ended when it ends
    now_ms, end_ms = ms(contract.began), ms(contract.began) + rng.randint(1, 200) * DAY_MS
    stale = world.row
    while now_ms < end_ms:
        ended_ms = known_ms or (ms(contract.ended) if contract.ended and ms(contract.ended) <= now_ms else 0)
        if (world.due_ms is not None and world.due_ms <= now_ms) or ended_ms:
            asyncio.run(world.look(now_ms, ended_ms=ended_ms))
        if rng.random() < 0.1:  # another keeper goes by what it read long ago
            asyncio.run(world.look(now_ms, ended_ms=ended_ms, stale=stale))
        if rng.random() < 0.1:
            stale = copy.copy(world.row)
        now_ms += rng.choice((3_600_000, DAY_MS, 40 * DAY_MS if rng.random() < 0.2 else DAY_MS))
    ended_ms = ms(contract.ended) if contract.ended and (known_ms or ms(contract.ended) <= end_ms) else 0
    world.rng = Random(0)
    world.rng.random = lambda: 1.0  # type: ignore[method-assign]  # a quiet end: nobody is killed any more
    for _ in range(20):
        asyncio.run(world.look(end_ms, ended_ms=ended_ms))
    expected = charged(offer, contract if ended_ms else contract._replace(ended=None), at(end_ms))
    found = {day: sum(each) for day, each in world.taken().items()}
    assert {day: micro for day, micro in found.items() if micro} == {
        day: int(amount * 1_000_000) for day, amount in expected if amount
    }
    assert all(sum(one > 0 for one in each) <= 1 for each in world.taken().values())
    check_entries(world.model, "acc")


def at(now_ms: int) -> datetime:
    return datetime.fromtimestamp(now_ms // 1_000, UTC)


@pytest.mark.parametrize("ends", [False, True], ids=["goes on", "ends"])
@pytest.mark.parametrize("kept", [0, 1], ids=["nothing kept", "one month kept"])
def test_what_a_failover_has_lost_is_taken_again(kept: int, ends: bool) -> None:
    """Months settled in a store that falls back: the next call says how far it was, and they are caught up."""
    fee = {"name": "base", "price": "10.00", "every": "month", "due": "advance", "prorate": []}
    catalog = Catalog([compile_tariff({"tariff": "t", "currency": "EUR", "fees": [fee]}, source="t")])
    began_ms = ms(datetime(2026, 1, 1, tzinfo=UTC))
    of = FeeAssignment(1, "acc", "sub", "t", began_ms, 0, False, False, 0, {}, "EUR", "UTC", 1, {}, ())
    rng = Random(0)
    rng.random = lambda: 1.0  # type: ignore[method-assign]  # nobody is killed
    world = FeeWorld(rng, catalog, of)
    copied = copy.deepcopy(world.model)
    for month in (1, 2):
        asyncio.run(world.look(ms(datetime(2026, month, 1, 1, tzinfo=UTC)), ended_ms=0))
        copied = copy.deepcopy(world.model) if month == kept else copied
    assert len(world.taken()) == 2
    world.model = copied
    ended_ms = ms(datetime(2026, 2, 20, tzinfo=UTC)) if ends else 0
    for _ in range(3):
        asyncio.run(world.look(ms(datetime(2026, 3, 1, 1, tzinfo=UTC)), ended_ms=ended_ms))
    months = ("2026-01-01", "2026-02-01") if ends else ("2026-01-01", "2026-02-01", "2026-03-01")
    assert {day: sum(each) for day, each in world.taken().items()} == dict.fromkeys(months, 10_000_000)
    assert all(one.ended for one in read_progress(world.row).values()) == ends
    check_entries(world.model, "acc")
