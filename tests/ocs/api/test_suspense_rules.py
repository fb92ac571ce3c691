"""Suspense is settled once: random clerks, crashes beside every step and keepers, against a model of the rule."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from balances import keys
from balances.ledger import suspense
from balances.ledger.verify import verify
from ocs.backoffice import accounts, postings
from ocs.keeper import settling
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import I, T, ccr, lines, mscc

MB, GB = 2**20, 2**30
SESSIONS = ("gw;1;1", "gw;1;2", "gw;1;3")


class Crash(Exception):
    """The process died there."""


class SuspenseModel:
    def __init__(self, harness: ApiHarness, rng: Random, rows: list[str]) -> None:
        self.harness, self.rng, self.rows = harness, rng, rows
        self.decided: dict[str, int] = {}
        """Micro-units by row; 0: written off."""
        self.keys = 0

    def body(self) -> dict[str, Any]:
        amount = self.rng.choice(("0.01", "0.20", "1.30", None))
        action = {"action": "charge", "amount": amount} if amount else {"action": "write-off"}
        return action | {"reason": "agreed"}

    async def settle(self, row: str, body: dict[str, Any]) -> Any:
        self.keys += 1
        return await self.harness.call("POST", f"/v1/suspense/{row}/settle", body, idempotency_key=f"k{self.keys}")

    def decide(self, row: str, body: dict[str, Any]) -> None:
        self.decided[row] = round(float(body.get("amount", 0)) * 1_000_000)

    async def one(self) -> None:
        row, body = self.rng.choice(self.rows), self.body()
        answer = await self.settle(row, body)
        assert answer.status_code == (409 if row in self.decided else 200), answer.text
        if row not in self.decided:
            self.decide(row, body)

    async def at_once(self) -> None:
        row, bodies = self.rng.choice(self.rows), [self.body() for _ in range(4)]
        answers = await asyncio.gather(*(self.settle(row, body) for body in bodies))
        won = [body for body, answer in zip(bodies, answers, strict=True) if answer.status_code == 200]
        assert len(won) == (row not in self.decided)
        for body in won:
            self.decide(row, body)

    async def crash(self) -> None:
        """After the decision was written: before its entry, or after it and before anybody was told."""
        row, body, posted = self.rng.choice(self.rows), self.body(), self.rng.random() < 0.5
        real = postings.post

        async def dies(*args: Any, **others: Any) -> Any:
            if posted:
                await real(*args, **others)
            raise Crash

        setattr(postings, "post", dies)  # noqa: B010
        try:
            await self.settle(row, body)
        finally:
            setattr(postings, "post", real)  # noqa: B010
        if row not in self.decided:
            self.decide(row, body)

    async def keepers(self) -> None:
        """Two of them, later; now and then the account is not in the live store."""
        harness = self.harness
        account = keys.account("a1")
        if self.rng.random() < 0.4:
            await harness.sync()
            await harness.redis.delete(account)
        log: Any = SimpleNamespace(warning=print)
        later_ms = harness.now_ms() + settling.UNFINISHED_MS + 1
        bring_in = partial(accounts.restore, harness.backoffice)
        finish = [settling.finish(harness.pool, harness.store, log, lambda: later_ms, bring_in) for _ in range(2)]
        await asyncio.gather(*finish)


@pytest.mark.parametrize("seed", range(4))
async def test_each_is_settled_once_by_the_first_who_decides(harness: ApiHarness, seed: int) -> None:
    await harness.account(credit_limit="100.00")
    await harness.tariff()
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    for session in SESSIONS:
        await harness.charge(ccr(I, session_id=session, **lines(mscc(10, ask={"cc_total_octets": MB}))))
        used = lines(mscc(10, used={"cc_total_octets": GB + MB}))
        await harness.charge(ccr(T, cc_request_number=1, session_id=session, **used))
    await harness.sync()
    rows = [row["id"] for row in await suspense.page(harness.pool, (-1, ""), 100)]
    assert len(rows) == len(SESSIONS)
    rng = Random(seed)
    clerks = SuspenseModel(harness, rng, rows)
    for _ in range(14):
        await rng.choice((clerks.one, clerks.at_once, clerks.crash, clerks.crash, clerks.keepers, harness.sync))()
    for _ in range(3):  # an absent account is brought in first
        await harness.sync()
        await clerks.keepers()
    await harness.sync()
    found = {row["id"]: row for row in await suspense.page(harness.pool, (-1, ""), 100)}
    for row in rows:
        state = "open" if row not in clerks.decided else "charged" if clerks.decided[row] else "written-off"
        assert found[row]["state"] == state
    entries = await harness.pool.fetch("SELECT reference, amount FROM ledger_entries WHERE why = 'suspense'")
    charged = {f"suspense {row}": -micro for row, micro in clerks.decided.items() if micro}
    assert len(entries) == len(charged)
    assert {entry["reference"]: entry["amount"] for entry in entries} == charged
    account, _ = await accounts.read(harness.backoffice, await accounts.find(harness.backoffice, "a1"))
    assert account.buckets[0].amount == sum(charged.values()) - 3 * 10_240_000
    await harness.sync()  # where the look brought the account in again
    assert (await verify(harness.redis, harness.backoffice.pool)).findings == []


async def test_a_keeper_leaves_alone_what_was_just_decided(harness: ApiHarness) -> None:
    """Whoever decided it is at work; and one row that cannot be posted keeps no other from it."""
    await harness.account()
    await harness.top_up("1.00")
    made = (
        "INSERT INTO suspense (id, subscriber, session, service, request_key, rating_group, service_id, unit, amount,"
    )
    made += " currency, set_aside, at_ms, last_ms, state, payer, charge, decided_by, decided_ms, reason)"
    made += " VALUES ($1, '', $1, 'data', '', 1, 1, 1, 1, 'EUR', 1, 1, 1, 'charging', $2, $3, 'eve', $4, '')"
    decided_ms = harness.now_ms()
    hopeless = [(f"0{number}", "a9", 1) for number in range(101)]  # more than are looked at in one go
    for row, payer, charge in (*hopeless, ("1", "a9", 1), ("2", "a1", 2**53 + 2_000_000), ("3", "a1", 250_000)):
        await harness.pool.execute(made, row, payer, charge, decided_ms + (0 if row[0] == "0" else int(row)))
    said: list[Any] = []
    log: Any = SimpleNamespace(warning=lambda event, **fields: said.append((event, fields["what"])))

    async def balance_after(ms: int) -> str:
        await settling.finish(harness.pool, harness.store, log, lambda: decided_ms + ms, None)
        await harness.sync()
        return str((await harness.call("GET", "/v1/accounts/a1")).json()["balance"])

    assert await balance_after(settling.UNFINISHED_MS) == "1.00"
    assert await balance_after(settling.UNFINISHED_MS + 10) == "0.75"
    assert await balance_after(settling.UNFINISHED_MS + 20) == "0.75"
    states = await harness.pool.fetch("SELECT id, state FROM suspense WHERE payer <> 'a9' OR id = '1' ORDER BY id")
    assert [row["state"] for row in states] == ["charging", "charging", "charged"]
    assert said[101:103] == [("keeper.unsettled", "suspense 1"), ("keeper.unsettled", "suspense 2")]
