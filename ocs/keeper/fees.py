"""The due run of recurring fees: settles what is due, the earliest first, at a pace that leaves charging its place.

A batch is claimed for some seconds, each of its fees is one call to the store, then what came of it is written; no
lock of PostgreSQL is held while the store answers. A keeper that is killed in between leaves them due, and the store
knows which days are settled (charging.md section 21). Several keepers share the work; a lease keeps them from doing so
without need.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import msgspec

from balances.ledger.refunds import end_gave_nothing, grant_end
from balances.redis.pending import Pending
from balances.structs.charge import Reply
from balances.structs.posting import Fee, FeeOutcome, FeeStep
from ocs.fees import rows
from ocs.fees.assignment import FeeAssignment, FeeLook, FeeLooker, FeeProblem, FeeProgress, TriedFee
from ocs.keeper.due import GradedCatalog
from ocs.master.clocks import ClockStore, keep_clock

LEASE: Final = "fees"
AT_ONCE: Final = 200
"""Assignments that are claimed together."""
ASKED_S: Final = 2.0
"""Longest time between two looks: something may have become due that was not."""
PAUSED_S: Final = 1.0
AGAIN_MS: Final = 10_000
"""When an assignment is looked at again whose account the store cannot serve now."""
_outcome: Final = msgspec.msgpack.Decoder(FeeOutcome).decode


class FeeStore(ClockStore, Protocol):
    def fee(self, fee: Fee) -> Pending[Reply]: ...


class FeeRun:
    """
    tariffs:  the published ones
    mine:     whether this keeper does the work now
    rate:     assignments a second at most
    """

    def __init__(
        self,
        pool: Any,
        store: FeeStore,
        tariffs: GradedCatalog | None,
        bring_in: Callable[[str], Awaitable[object]] | None,
        *,
        now_ms: Callable[[], int],
        mine: Callable[[], bool],
        rate: int,
    ) -> None:
        self._pool, self._store, self._tariffs, self._bring_in = pool, store, tariffs, bring_in
        self._now_ms, self._mine, self._rate = now_ms, mine, rate
        self._next_s = 0.0
        self.looked = self.taken = self.short = 0
        self.late_ms = 0
        """How long the earliest has been due."""

    async def step(self) -> None:
        """Settle a batch of what is due; where nothing is, wait until something is."""
        if not self._mine() or self._tariffs is None or not self._tariffs.known:
            self.late_ms = 0
            await asyncio.sleep(ASKED_S)
            return
        if await self._pool.fetchval("SELECT paused_by <> '' FROM fee_run"):
            await asyncio.sleep(PAUSED_S)
            return
        due_ms = await rows.next_due_ms(self._pool)
        now_ms = self._now_ms()
        self.late_ms = 0 if due_ms is None or due_ms == rows.HURRIED_MS else max(now_ms - due_ms, 0)
        if due_ms is None or due_ms > now_ms:
            await asyncio.sleep(ASKED_S if due_ms is None else min(ASKED_S, (due_ms - now_ms) / 1_000))
            return
        if not await self._batch(now_ms):
            await asyncio.sleep(PAUSED_S)  # another keeper has it, or the tariffs are not read yet

    async def _batch(self, now_ms: int) -> bool:
        """Whether there was any."""
        assert self._tariffs is not None
        loop = asyncio.get_running_loop()
        catalog, began_s = self._tariffs.catalog, loop.time()
        if catalog is None:
            return False
        due = await rows.claim(self._pool, now_ms, self._tariffs.version, AT_ONCE)
        if not due:
            return False
        by_account: dict[str, list[FeeAssignment]] = {}
        for one in due:
            by_account.setdefault(one.account, []).append(one)
        looks = await asyncio.gather(*(self._of_account(catalog, each, now_ms) for each in by_account.values()))
        came = [pair for pairs in looks for pair in pairs]
        taken, short = sum(look.taken for _, look in came), sum(look.short for _, look in came)
        async with self._pool.acquire() as db, db.transaction():
            await rows.looked(db, came)
            await db.execute(
                "UPDATE fee_run SET moved_ms = $1::bigint,"
                " looked = looked + $2, taken = taken + $3, short = short + $4,"
                " began_ms = CASE WHEN moved_ms < $1::bigint - 60000 THEN $1::bigint ELSE began_ms END",
                now_ms,
                len(came),
                taken,
                short,
            )
        self.looked, self.taken, self.short = self.looked + len(came), self.taken + taken, self.short + short
        await asyncio.sleep(max(len(came) / self._rate - (loop.time() - began_s), 0))
        return True

    async def _of_account(
        self, catalog: Any, each: list[FeeAssignment], now_ms: int
    ) -> list[tuple[FeeAssignment, FeeLook]]:
        """Those of one account, one after the other: an earlier one is paid first."""
        return [(one, await self._look(catalog, one, now_ms)) for one in each]

    async def _look(self, catalog: Any, one: FeeAssignment, now_ms: int) -> FeeLook:
        looker = FeeLooker(catalog, one, now_ms, self._take, hurry=one.hurry)
        try:
            return await looker.look()
        except FeeProblem as why:
            return FeeLook(now_ms + AGAIN_MS, one.waiting, str(why), 0, 0)

    async def _take(self, fee: Fee, progress: FeeProgress) -> TriedFee:
        if fee.step == FeeStep.END and fee.amount < progress.paid:  # what a refund gave back is not given back again
            wanted = progress.paid - fee.amount
            fee.amount = progress.paid - await grant_end(self._pool, fee.account, fee.chain, fee.key, wanted)
        fee.now_ms = max(fee.now_ms, self._now_ms())  # when it is posted: a batch may take long
        reply = await self._store.fee(fee).wait()
        if reply.status == "absent" and self._bring_in is not None:
            await self._bring_in(fee.account)
            reply = await self._store.fee(fee).wait()
        if reply.status in ("ok", "again", "refused"):
            outcome = _outcome(reply.outcome)
            if reply.status == "ok":
                await keep_clock(self._pool, self._store, fee.account, fee.clock, self._now_ms())
            if fee.step == FeeStep.END and outcome.mark.ended_ms and outcome.mark.paid:  # told again to who asks again
                await end_gave_nothing(self._pool, fee.account, fee.chain)
            return TriedFee(outcome.mark, outcome.result)
        raise FeeProblem(f"the live store says {reply.status}")
