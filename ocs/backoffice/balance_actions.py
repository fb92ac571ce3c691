"""What was done with the balances of some accounts by hand, newest first: entries of the ledger, and transfers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from balances.ledger.kept import gone
from ocs.backoffice import accounts
from ocs.backoffice.errors import Forgotten, NotFound

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice

TOP_UPS: Final = ("top-up", "bonus", "voucher")
ADJUSTMENTS: Final = ("adjustment",)
TRANSFERS: Final = ("transfer", "transfer-return", "merge", "merge-return")
MOVES: Final = ("transfer",)
ACTIONS: Final = (*TOP_UPS, *ADJUSTMENTS, *TRANSFERS)
"""Why an entry was made, of those that are made by hand."""
COUNTED_MAX: Final = 10_000
"""So many are counted, and can be paged through: who wants more says from when until when."""
COPIED_S: Final = 2.0
LOOK_S: Final = 0.05

ActionRow = Mapping[str, Any]
"""Of ledger_entries, or of transfers."""


class WantedActions(NamedTuple):
    """None: any."""

    accounts: Sequence[str]
    whys: Sequence[str] = ACTIONS
    bucket: int | None = None
    kind: int | None = None
    from_ms: int | None = None
    until_ms: int | None = None
    """The last millisecond."""
    offset: int = 0
    limit: int = 100


class ActionsFound(NamedTuple):
    rows: Sequence[ActionRow]
    total: int | None
    """None: more than COUNTED_MAX."""


_COLUMNS: Final = "account, seq, bucket, kind, amount, currency, why, at_ms, actor, reason, reference"
_ENTRIES: Final = """
    FROM ledger_entries WHERE account = ANY($1) AND why = ANY($2) AND ($3::bigint IS NULL OR bucket = $3)
        AND ($4::int IS NULL OR kind = $4) AND ($5::bigint IS NULL OR at_ms >= $5)
        AND ($6::bigint IS NULL OR at_ms <= $6)
"""
_GIVEN: Final = f"""
    SELECT {_COLUMNS} FROM ledger_entries g WHERE g.account = $1 AND g.seq = $2 + 1 AND g.why = 'transfer'
        AND g.amount > 0 AND EXISTS (SELECT FROM ledger_entries t WHERE t.account = $1 AND t.seq = $2
            AND t.epoch = g.epoch AND t.n = g.n AND t.amount = -g.amount)
"""
_TRANSFERS: Final = """
    FROM transfers WHERE (source = ANY($1) OR target = ANY($1)) AND ($2::int[] IS NULL OR state = ANY($2))
        AND ($3::bigint IS NULL OR sent_ms >= $3) AND ($4::bigint IS NULL OR sent_ms <= $4)
"""


async def entries(backoffice: BackOffice, wanted: WantedActions) -> ActionsFound:
    """One for each entry of the ledger, which follows the live store within a second."""
    given = [*wanted.accounts], [*wanted.whys], wanted.bucket, wanted.kind, wanted.from_ms, wanted.until_ms
    return await _found(backoffice, _COLUMNS, _ENTRIES, "at_ms DESC, account, seq DESC", given, wanted)


async def transfers(backoffice: BackOffice, wanted: WantedActions, states: Sequence[int] | None) -> ActionsFound:
    """Transfers between accounts, from or to one of them. states: of TransferState; None: any"""
    given = [*wanted.accounts], None if states is None else [*states], wanted.from_ms, wanted.until_ms
    return await _found(backoffice, "*", _TRANSFERS, "sent_ms DESC, id DESC", given, wanted)


async def _found(
    backoffice: BackOffice, columns: str, source: str, order: str, given: Sequence[Any], wanted: WantedActions
) -> ActionsFound:
    counted = f"SELECT count(*) FROM (SELECT {source} LIMIT {COUNTED_MAX + 1}) few"
    total: int = await backoffice.pool.fetchval(counted, *given)
    n = len(given)
    rows = await backoffice.pool.fetch(
        f"SELECT {columns} {source} ORDER BY {order} OFFSET ${n + 1} LIMIT ${n + 2}",
        *given,
        wanted.offset,
        wanted.limit,
    )
    return ActionsFound(rows, total if total <= COUNTED_MAX else None)


async def copied(backoffice: BackOffice, account: str, seq: int) -> ActionRow | None:
    """One entry; None where it is not copied, or not there."""
    query = f"SELECT {_COLUMNS} FROM ledger_entries WHERE account = $1 AND seq = $2"
    found: ActionRow | None = await backoffice.pool.fetchrow(query, account, seq)
    return found


async def entry(backoffice: BackOffice, account: str, seq: int, whys: Sequence[str]) -> ActionRow:
    """One entry that was made for one of these reasons. What was posted just now is waited for until it is copied."""
    deadline_s = asyncio.get_running_loop().time() + COPIED_S
    while True:
        found = await copied(backoffice, account, seq)
        if found is not None and found["why"] in whys:
            return found
        if found is None and (why := await gone(backoffice.pool, account, seq)):
            raise Forgotten(f"account {account} has no entry {seq} any more: {why}")
        late = asyncio.get_running_loop().time() > deadline_s
        if found is not None or late or not await _made(backoffice, account, seq):
            raise NotFound(f"account {account} has no such entry {seq}")
        await asyncio.sleep(LOOK_S)


async def move(backoffice: BackOffice, account: str, seq: int) -> tuple[ActionRow, ActionRow]:
    """A transfer within an account, by the entry that takes: that one, and the one of the same call that gives."""
    taken = await entry(backoffice, account, seq, MOVES)
    given: ActionRow | None = await backoffice.pool.fetchrow(_GIVEN, account, seq)
    if given is None:
        raise NotFound(f"account {account} has no transfer within it of entry {seq}")
    return taken, given


async def _made(backoffice: BackOffice, account: str, seq: int) -> bool:
    """Whether the live store has made the entry."""
    now, _ = await accounts.read(backoffice, await accounts.find(backoffice, account))
    return now.seq >= seq
