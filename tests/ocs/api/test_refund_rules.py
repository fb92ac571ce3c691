"""Refunds against a model written from the rules: parts given back over HTTP and by the network add up to at most what
was paid, whatever is repeated, crashes or is asked side by side (charging.md section 9)."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from balances import keys
from balances.ledger.verify import verify
from ocs.backoffice import postings, refunds
from protocol.diameter.dictionary import DICTIONARY
from protocol.diameter.dictionary.credit_control import CreditControlRequest, RequestedAction
from tests.ocs.api_harness import ApiHarness
from tests.ocs.charging.wire import E, I, T, U, ccr, lines, mscc

MB = 2**20
SESSION, EVENT = "gw;1;1", "sms;1"


class Crash(Exception):
    """The process died there."""


class RefundModel:
    """Asks for refunds, and knows by the rules alone what may still be given back."""

    def __init__(self, harness: ApiHarness, rng: Random) -> None:
        self.harness, self.rng = harness, rng
        self.balance = 1_000_000
        self.requests = 0
        self.paid = {1: 30_000, 2: 20_000}
        """By incarnation of the session."""
        self.entries = {2: (1, 30_000), 3: (2, 10_000), 4: (2, 10_000)}
        """Incarnation and cost, by number of the entry."""
        self.event = 50_000
        self.unfinished: list[tuple[str, int, dict[str, Any], bool]] = []
        """Key, amount, of what, and whether it was posted."""
        self.done: list[tuple[str, int, dict[str, Any]]] = []

    async def network(self, kind: Any, **fields: Any) -> None:
        self.requests += 1
        asked = DICTIONARY.decode(ccr(kind, **fields).encode(hop_by_hop=1, end_to_end=self.requests, flags=0xC0))
        assert isinstance(asked, CreditControlRequest)
        await self.harness.charge(asked)

    async def use(self) -> None:
        """Two incarnations of one session, the second in two reports, and an event."""
        for reports in ((3,), (1, 1)):
            await self.network(I, session_id=SESSION, **lines(mscc(10, ask={"cc_total_octets": 9 * MB})))
            for number, used in enumerate(reports, 1):
                kind, wish = (T, None) if number == len(reports) else (U, {"cc_total_octets": 9 * MB})
                line = mscc(10, ask=wish, used={"cc_total_octets": used * MB})
                await self.network(kind, session_id=SESSION, cc_request_number=number, **lines(line))
        line = mscc(10, ask={"cc_total_octets": 5 * MB})
        await self.network(E, session_id=EVENT, requested_action=RequestedAction.DIRECT_DEBITING, **lines(line))
        await self.harness.sync()
        self.balance -= sum(self.paid.values()) + self.event
        assert await self.money() == self.balance

    async def money(self) -> int:
        return round(float((await self.harness.call("GET", "/v1/accounts/a1")).json()["balance"]) * 1_000_000)

    def left(self, of: dict[str, Any]) -> int:
        if "event" in of:
            return self.event
        if "entry" in of:
            incarnation, cost = self.entries[of["entry"]]
            return min(cost, self.paid[incarnation])
        return next((self.paid[number] for number in (2, 1) if self.paid[number] > 0), 0)

    def take(self, amount: int, of: dict[str, Any]) -> None:
        if "event" in of:
            self.event -= amount
            return
        if "entry" in of:
            incarnation, cost = self.entries[of["entry"]]
            self.entries[of["entry"]] = incarnation, cost - amount
        else:
            incarnation = next(number for number in (2, 1) if self.paid[number] > 0)
        self.paid[incarnation] -= amount

    def anything(self) -> tuple[int, dict[str, Any]]:
        of = self.rng.choice(
            (
                {"entry": 2},
                {"entry": 3},
                {"entry": 4},
                {"session": SESSION},
                {"session": SESSION},
                {"event": {"session": EVENT}},
            )
        )
        return self.rng.choice((1, 1_000, 5_000, 10_000, self.left(of) or 1, self.left(of) + 1)), of

    async def ask(self, key: str, amount: int, of: dict[str, Any]) -> int:
        body = {"amount": f"{amount // 10**6}.{amount % 10**6:06d}", "reason": "dropped"} | of
        return int((await self.harness.call("POST", "/v1/accounts/a1/refunds", body, idempotency_key=key)).status_code)

    def key(self) -> str:
        self.requests += 1
        return f"k{self.requests}"

    async def one(self) -> None:
        key, (amount, of) = self.key(), self.anything()
        allowed = amount <= self.left(of)
        assert await self.ask(key, amount, of) == (201 if allowed else 422), (amount, of)
        if allowed:
            self.take(amount, of)
            self.balance += amount
            self.done.append((key, amount, of))

    async def again(self) -> None:
        """The same is answered the same and moves nothing; something else under its key is refused."""
        if self.done:
            key, amount, of = self.rng.choice(self.done)
            assert await self.ask(key, amount, of) == 201
            assert await self.ask(key, amount + 1, of) == 409
            assert await self.ask(key, amount, {"event": {"session": EVENT}} if "entry" in of else {"entry": 2}) == 409

    async def crash(self) -> None:
        """Between the grant in PostgreSQL and the posting in the live store, or right after that."""
        key, (amount, of) = self.key(), self.anything()
        room, name = (refunds, "_charge") if "event" in of else (postings, "post")
        posted, real = self.rng.random() < 0.5, getattr(room, name)

        async def dies(*args: Any, **others: Any) -> None:
            if posted:
                await real(*args, **others)
            raise Crash

        setattr(room, name, dies)
        try:
            code = await self.ask(key, amount, of)
        finally:
            setattr(room, name, real)
        allowed = amount <= self.left(of)
        if "event" not in of:
            assert code == (500 if allowed else 422)
        if allowed and (posted or "event" not in of):
            self.take(amount, of)
            self.balance += amount if posted else 0
            self.unfinished.append((key, amount, of, posted))

    async def finish(self) -> None:
        """Who asked that comes again: what was granted is still there, for nobody else."""
        while self.unfinished:
            key, amount, of, posted = self.unfinished.pop()
            assert await self.ask(key, amount, of) == 201
            self.balance += 0 if posted else amount
            self.done.append((key, amount, of))

    async def at_once(self) -> None:
        """Several at once, of one thing: they never get more than is left, and it is not refused to all."""
        amount, of = self.anything()
        if "session" in of:  # which incarnation each gets is a matter of order
            of = {"entry": 2}
        left = self.left(of)
        asked = [(self.key(), amount, of) for _ in range(3)]
        codes = await asyncio.gather(*(self.ask(*one) for one in asked))
        assert codes.count(201) == min(left // amount, 3), (left, amount, codes)
        assert codes.count(422) == 3 - codes.count(201)
        for _ in range(codes.count(201)):
            self.take(amount, of)
            self.balance += amount

    async def forget(self) -> None:
        """The live store remembers an event for an hour, PostgreSQL longer."""
        await self.harness.sync()
        await self.harness.redis.delete(keys.once("a1", keys.event_key(EVENT, 0)))

    async def by_the_network(self) -> None:
        """Some MB of the event: what they cost, as far as it is not given back already."""
        before, self.requests = await self.money(), self.requests + 1
        line = mscc(10, ask={"cc_total_octets": self.rng.randint(1, 6) * MB})
        await self.network(
            *(E,),
            session_id=EVENT,
            cc_request_number=self.requests,
            requested_action=RequestedAction.REFUND_ACCOUNT,
            **lines(line),
        )
        given = await self.money() - before
        assert 0 <= given <= self.event
        self.event -= given
        self.balance += given


@pytest.mark.parametrize("seed", range(4))
async def test_parts_never_exceed_what_was_paid(harness: ApiHarness, seed: int) -> None:
    await harness.account()
    await harness.top_up("1.00")
    await harness.tariff()
    await harness.subscriber("s1", "a1", "msisdn:491700000001")
    rng = Random(seed)
    clerk = RefundModel(harness, rng)
    await clerk.use()
    for _ in range(25):
        await rng.choice(
            (
                clerk.one,
                clerk.one,
                clerk.again,
                clerk.crash,
                clerk.at_once,
                clerk.by_the_network,
                clerk.finish,
                clerk.forget,
                harness.sync,
            )
        )()
        assert await clerk.money() == clerk.balance
    await clerk.finish()
    await harness.sync()
    for of in ({"entry": 2}, {"session": SESSION}, {"session": SESSION}, {"event": {"session": EVENT}}):
        left = clerk.left(of)
        if left > 0:  # all of it can be had
            assert await clerk.ask(clerk.key(), left, of) == 201
            clerk.take(left, of)
            clerk.balance += left
    for of in ({"entry": 2}, {"entry": 3}, {"session": SESSION}, {"event": {"session": EVENT}}):
        assert await clerk.ask(clerk.key(), 1, of) == 422
    assert await clerk.money() == clerk.balance == 1_000_000
    await harness.sync()
    assert (await verify(harness.redis, harness.backoffice.pool)).sound
