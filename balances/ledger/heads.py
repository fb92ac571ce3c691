"""Heads: each account and each session as its last call left it, and the answer of whatever is done once.

Restores, the check that an account's entries continue, and the search for what is charged twice read these, and no big
table. They are written in the transaction that copies the records, so they say neither more nor less than the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from balances.ledger.record import SEQ, Chain, Row, Rows, fit, session_head

_AFTERS: Final = msgspec.json.Decoder(dict[int, int])

_ACCOUNTS: Final = """
INSERT INTO account_heads AS h (account, shard, seq, afters, state)
SELECT * FROM unnest($1::text[], $2::smallint[], $3::bigint[], $4::jsonb[], $5::bytea[])
    ON CONFLICT (account) DO UPDATE SET state = COALESCE(excluded.state, h.state),
       seq = GREATEST(h.seq, excluded.seq), afters = CASE WHEN excluded.seq > 0 THEN excluded.afters ELSE h.afters END
"""

_SESSIONS: Final = """
INSERT INTO session_heads (account, session, subscriber, opened_ms, until_ms, state)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bytea[])
    ON CONFLICT (account, session) DO UPDATE SET subscriber = excluded.subscriber, opened_ms = excluded.opened_ms,
       until_ms = excluded.until_ms, state = excluded.state
"""

# A client that counts from 1 again is charged as new under the key of before: its fingerprint is another one.
_ONCE: Final = """
INSERT INTO once AS o (account, key, shard, epoch, n, position, fingerprint, at_ms, until_ms, state, charged, doubled)
SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[],
                     $8::bigint[], $9::bigint[], $10::bytea[], $11::boolean[], $12::boolean[])
    ON CONFLICT (account, key) DO UPDATE SET shard = excluded.shard, epoch = excluded.epoch, n = excluded.n,
       position = excluded.position, fingerprint = excluded.fingerprint, at_ms = GREATEST(o.at_ms, excluded.at_ms),
       until_ms = excluded.until_ms, state = excluded.state,
       charged = excluded.charged OR (o.charged AND o.fingerprint = excluded.fingerprint),
       doubled = o.doubled OR excluded.doubled
              OR (o.charged AND excluded.charged AND o.fingerprint = excluded.fingerprint)
"""

_REFUNDED: Final = """
UPDATE once o SET state = r.state, at_ms = GREATEST(o.at_ms, r.at_ms)
  FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[]) AS r(account, key, at_ms, state)
 WHERE o.account = r.account AND o.key = r.key
"""


class OnceHead(msgspec.Struct):
    """A row of `once` in the making; below `account` and `key` they are in the order of its columns."""

    account: str
    key: str
    shard: int
    epoch: int
    n: int
    position: int
    fingerprint: str
    at_ms: int
    until_ms: int
    state: bytes
    charged: bool
    doubled: bool = False


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


async def write(pg: Any, rows: Rows) -> None:
    """Bring the heads to where these rows lead, in the caller's transaction, which has their shards locked."""
    accounts: dict[str, tuple[int, bytes | None]] = {}
    sessions: dict[tuple[str, str], Row] = {}
    once: dict[tuple[str, str], OnceHead] = {}
    refunded: dict[tuple[str, str], tuple[int, bytes]] = {}
    for (shard, call), row in zip(rows.copied, rows.calls, strict=True):
        account, session = row[4], row[5]
        if call.account_state is not None:
            accounts[account] = (shard, call.account_state)
        elif call.record.entries:
            accounts.setdefault(account, (shard, None))
        if call.session_state is not None:
            head = call.session_after or session_head(call.session_state)
            sessions[account, session] = (fit(head.subscriber), head.opened_ms, head.forget_ms, call.session_state)
        if call.once_state is not None:
            _note_once(once, OnceHead(
                account, fit(call.record.once_key), shard, *call.id, row[3], row[11], call.record.at_ms,
                call.record.once_until_ms, call.once_state, bool(call.record.entries)))  # fmt: skip
        if call.refund_state is not None:
            name = (account, fit(call.record.refund_of))
            made = once.get(name)
            if made is None:
                refunded[name] = (call.record.at_ms, call.refund_state)
            else:
                made.at_ms, made.state = call.record.at_ms, call.refund_state
    if accounts:
        chains = rows.chains
        await pg.execute(_ACCOUNTS, *_columns(
            (account, shard, chains[account][SEQ], _afters(chains[account]), state) if account in chains
            else (account, shard, 0, "{}", state) for account, (shard, state) in accounts.items()))  # fmt: skip
    if sessions:
        await pg.execute(_SESSIONS, *_columns((*name, *head) for name, head in sessions.items()))
    if refunded:
        await pg.execute(_REFUNDED, *_columns((*name, *change) for name, change in refunded.items()))
    if once:
        await pg.execute(_ONCE, *_columns(map(msgspec.structs.astuple, once.values())))


def _note_once(once: dict[tuple[str, str], OnceHead], head: OnceHead) -> None:
    """As the statement does with the row that is there."""
    before = once.get((head.account, head.key))
    if before is not None:
        same = before.charged and before.fingerprint == head.fingerprint
        head.doubled = before.doubled or (head.charged and same)
        head.charged = head.charged or same
    once[head.account, head.key] = head


def _afters(chain: Chain) -> str:
    """As jsonb takes it; what has come to zero is left out, so that buckets of long ago cost nothing."""
    return "{" + ",".join([f'"{bucket}":{after}' for bucket, after in chain.items() if after and bucket != SEQ]) + "}"


async def load_chains(pg: Any, accounts: Iterable[str]) -> dict[str, Chain]:
    """Last seq and balances of accounts that have entries."""
    by_fit = {fit(account): account for account in accounts}
    rows = await pg.fetch(
        "SELECT account, seq, afters::text FROM account_heads WHERE account = ANY($1::text[]) AND seq > 0", list(by_fit)
    )
    return {by_fit[account]: _AFTERS.decode(afters) | {SEQ: seq} for account, seq, afters in rows}


async def states(pg: Any, accounts: Iterable[str]) -> dict[str, bytes]:
    """Packed accounts after their last call, by their names as `fit` writes them."""
    return dict(
        await pg.fetch(
            "SELECT account, state FROM account_heads WHERE account = ANY($1::text[]) AND state IS NOT NULL",
            list({fit(account) for account in accounts}),
        )
    )


async def purge(pg: Any, before_ms: int) -> None:
    """Delete sessions forgotten, and answers given, before that instant."""
    await pg.execute("DELETE FROM session_heads WHERE until_ms > 0 AND until_ms < $1", before_ms)
    await pg.execute("DELETE FROM once WHERE at_ms < $1", before_ms)
