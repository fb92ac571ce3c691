"""Completes transfers between accounts whose second leg, or whose return, nobody has made: the process that took the
order may have ended between the legs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from balances import keys
from balances.ledger import transfers
from balances.ledger.transfers import LegStore
from balances.ledger.writer import Pool
from balances.structs.posting import Post
from ocs.master.clocks import ClockStore, keep_clock
from ocs.master.late_money import order_late_money
from ocs.master.transfer_legs import SeqStore, next_leg

UNFINISHED_MS: Final = 5_000
"""One that is on its way for so long is nobody's: who took the order has answered."""


class TransferringLog(Protocol):
    def warning(self, event: str, **fields: object) -> object: ...


class KeeperLegStore(LegStore, ClockStore, SeqStore, Protocol):
    """What legs, and the clocks that they bring, need of the store."""


async def finish_transfers(
    pool: Pool,
    store: KeeperLegStore,
    log: TransferringLog,
    now_ms: Callable[[], int],
    bring_in: Callable[[str], Awaitable[object]] | None,
) -> None:
    """Order what came into merged accounts late to where they went, and make the next leg of each. Keys are made of
    their ids, so each is posted once, whoever else does it; each at its own instant: a period that is over by then may
    be closed. One that cannot be done now keeps none that are younger from it."""
    await order_late_money(pool, now_ms())
    before_ms = now_ms() - UNFINISHED_MS
    after = (-1, "")
    while rows := await transfers.unfinished(pool, before_ms, after):
        for row in rows:
            leg, due = await next_leg(pool, store, row, now_ms()), keys.transfer_key(row["id"])
            if leg is None:
                continue
            reply = await transfers.make(store, leg).wait()
            if reply.status == "absent" and bring_in is not None:
                await bring_in(leg.account)
            elif reply.status == "ok" and isinstance(leg, Post):
                await keep_clock(pool, store, leg.account, leg.clock, now_ms())
            elif reply.status not in ("ok", "again", "held") and not (reply.status == "refused" and leg.key == due):
                log.warning("transfer.unfinished", transfer=row["id"], account=leg.account, why=reply.status)
        after = (rows[-1]["sent_ms"], rows[-1]["id"])
