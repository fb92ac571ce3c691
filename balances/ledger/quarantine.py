"""What a person does about a record that could not be copied (durability.md rule 6).

The account's records stand raw and in order in `quarantined`, while others are copied on. Until they are settled
PostgreSQL does not know the state of the account: it is not restored, and its requests get 3004. Two ways out:

replay:   the cause is mended (a program, a table); all records go through the same checks as any other.
confirm:  the records stay broken. What each of them did to the balances is taken from the state it left behind, and the
          difference is posted as `recovered`. What follows and is sound is copied as it is. Where the live store has
          gone another way than all this can say, the account is dropped there and comes back from PostgreSQL.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

import msgspec

from balances import keys
from balances.ledger.heads import load_chains
from balances.ledger.opening import forget
from balances.ledger.put import put
from balances.ledger.reader import StreamReader
from balances.ledger.record import (
    BROKEN,
    SEQ,
    Chain,
    RecordedCall,
    RecordId,
    Rows,
    Undecodable,
    decode,
    fit,
    follows,
    no_rows,
    parse_id,
    session_head,
)
from balances.ledger.snapshot import difference
from balances.ledger.writer import (
    NOW_MS,
    QUARANTINED_COLUMNS,
    RECOVERED,
    REFUSALS,
    Pool,
    described,
    mark_refused,
    pack_raw,
    refusal,
)
from balances.redis.primaries import Primaries, Primary
from balances.structs.account import Account
from balances.structs.blob import FORMAT
from balances.structs.record import Entry, Record
from tariffs.units import EXACT_MAX

WAIT_S: Final = 0.1
TRIES: Final = 50

_FIELDS: Final = msgspec.msgpack.Decoder(list[bytes])
_ACCOUNT: Final = msgspec.msgpack.Decoder(Account)


class NotSettled(Exception):
    """It cannot be done; the text says why and is meant for the operator."""


class Held(NamedTuple):
    """An account in quarantine."""

    account: str
    shard: int
    records: int
    first: str
    """Id of the record that is broken."""
    why: str
    since_ms: int


class QuarantinedRecord(NamedTuple):
    """One of its records."""

    id: str
    kind: str
    at_ms: int
    session: str
    why: str
    """"": it only follows one that is broken."""
    entries: list[Entry]
    """As it says them, right or wrong."""


class QuarantineOutcome(NamedTuple):
    replayed: int
    """Records copied as they are."""
    recovered: int
    """Records of which only the difference is posted."""
    dropped: bool
    """The live store had gone another way: the account comes back from PostgreSQL."""


async def held(pg: Any) -> list[Held]:
    """Every account in quarantine, longest first."""
    rows = await pg.fetch(
        "SELECT DISTINCT ON (account) account, shard, epoch, n, why, count(*) OVER (PARTITION BY account) AS records,"
        " (extract(epoch FROM at) * 1000)::bigint AS since_ms FROM quarantined WHERE settled_at IS NULL"
        " ORDER BY account, position"
    )
    found = [
        Held(row["account"], row["shard"], row["records"], f"{row['epoch']}-{row['n']}", row["why"], row["since_ms"])
        for row in rows
    ]
    return sorted(found, key=lambda one: (one.since_ms, one.account))


async def kept(pg: Any, account: str, limit: int = 1_000) -> list[QuarantinedRecord]:
    """The records of an account in quarantine, in order."""
    rows = await pg.fetch(
        "SELECT epoch, n, why, entry FROM quarantined WHERE settled_at IS NULL AND account = $1"
        " ORDER BY position LIMIT $2",
        fit(account),
        limit,
    )
    calls = [(_call(row, account), row["why"]) for row in rows]
    return [
        QuarantinedRecord(
            str(call.id), call.record.kind, call.record.at_ms, call.record.session, why, call.record.entries
        )
        for call, why in calls
    ]


async def replay(pool: Pool, account: str, *, actor: str, reason: str) -> QuarantineOutcome:
    """Copy its records as they are, all or none."""
    async with pool.acquire() as pg, pg.transaction():
        shard, calls = await _taken(pg, account)
        chains = await load_chains(pg, [account])
        chains.setdefault(account, {SEQ: 0})
        rows = no_rows()
        for position, call in calls:
            why = refusal(rows, position, shard, call, chains)
            if why:
                raise NotSettled(f"{call.id} cannot be replayed: {why}")
        await _put(pg, rows)
        await _settle(pg, account, "replayed", actor, reason)
        return QuarantineOutcome(len(calls), 0, dropped=False)


async def confirm(pool: Pool, primaries: Primaries, account: str, *, actor: str, reason: str) -> QuarantineOutcome:
    """Post what cannot be replayed as `recovered`."""
    for _ in range(TRIES):
        try:
            async with pool.acquire() as pg, pg.transaction():
                return await _confirm(pg, primaries, account, actor, reason)
        except _Moved:
            await asyncio.sleep(WAIT_S)  # outside: the copy waits for the same lock
    raise NotSettled("its shard always has records that are not copied yet: try again")


class _Moved(Exception):
    """The stream has gone on: nothing may be dropped now."""


async def _confirm(pg: Any, primaries: Primaries, account: str, actor: str, reason: str) -> QuarantineOutcome:
    shard, calls = await _taken(pg, account)
    await mark_refused(pg, shard, [call for _, call in calls])
    chains = await load_chains(pg, [account])
    chain = chains.setdefault(account, {SEQ: 0})
    rows = no_rows()
    recovered, agrees = 0, True
    for position, call in calls:
        if (agrees or _continues(call, chain)) and not refusal(rows, position, shard, call, chains):
            agrees = True
            continue
        recovered += 1
        stands_for, agrees = _stands_for(call, chain, actor, reason)
        why = refusal(rows, position, shard, stands_for, chains)
        if why:
            raise NotSettled(f"{call.id}: not even what stands for it can be written: {why}")
    await _put(pg, rows)
    if not agrees and not await _dropped(pg, primaries, account, shard):
        raise _Moved
    await _settle(pg, account, RECOVERED, actor, reason)
    return QuarantineOutcome(len(calls) - recovered, recovered, dropped=not agrees)


def _usable(call: RecordedCall) -> Account | None:
    """The account after it, if that can be believed."""
    try:
        account = _ACCOUNT.decode(call.account_state or b"")
    except (ValueError, msgspec.MsgspecError):
        return None
    exact = all(abs(bucket.amount) <= EXACT_MAX for bucket in account.buckets)
    return account if exact and account.id == call.record.account else None


def _continues(call: RecordedCall, chain: Chain) -> bool:
    account = _usable(call)
    return account is not None and difference(account, call.record.entries, chain) == []


def _stands_for(call: RecordedCall, chain: Chain, actor: str, reason: str) -> tuple[RecordedCall, bool]:
    """What is written instead of a broken record, and whether PostgreSQL then knows the account as the live store does:
    not where the state after it cannot be read, or lies before what PostgreSQL has."""
    account = _usable(call)
    entries = difference(account, [], chain) if account is not None else None
    if entries is not None and any(abs(entry.amount) > EXACT_MAX for entry in entries):
        entries = None
    session, head = call.session_state, None
    try:
        head = session_head(session) if session is not None else None
    except (ValueError, msgspec.MsgspecError):
        session = None
    told = call.record.kind != BROKEN
    record = msgspec.structs.replace(
        call.record,
        kind=RECOVERED,
        currency=account.currency if account is not None else call.record.currency,
        session=head.id if head is not None else call.record.session,
        at_ms=call.record.at_ms or (account.clock_ms if account is not None else 0),
        entries=entries or [],
        usages=[],
        actor=actor,
        reason=reason,
    )
    agrees = entries is not None
    stands_for = RecordedCall(
        call.id, record, call.packed, call.account_state if agrees else None, session,
        call.once_state if told else None, call.refund_state if told else None, call.inputs, call.fields,
    )  # fmt: skip
    return stands_for, agrees


async def _dropped(pg: Any, primaries: Primaries, account: str, shard: int) -> bool:
    """Forget the account in the live store, if nothing of its shard waits there to be copied."""
    redis = _primary(primaries, shard).client
    if not await redis.exists(keys.account(account)):
        return True
    row = await pg.fetchrow("SELECT cursor_epoch, cursor_n FROM shards WHERE shard = $1", shard)
    return await forget(redis, account, RecordId(*row))


def _primary(primaries: Primaries, shard: int) -> Primary:
    found = primaries.of(shard)
    if found is None:
        raise NotSettled(f"nobody has shard {shard} of the live store now")
    return found


async def resume(
    pool: Pool, primaries: Primaries, shard: int, *, account: str = "", reason: str = "", actor: str
) -> None:
    """Copy a stopped shard again. `account` says whose the next record is, where that names nobody: it is quarantined
    under that name."""
    async with pool.acquire() as pg, pg.transaction():
        row = await pg.fetchrow(
            "SELECT opened_epoch, cursor_epoch, cursor_n, position, stopped FROM shards WHERE shard = $1 FOR UPDATE",
            shard,
        )
        if row is None or not row["stopped"]:
            raise NotSettled(f"shard {shard} is not stopped")
        if account:
            at, entry = await _nameless(
                primaries, shard, account, RecordId(row["cursor_epoch"], row["cursor_n"]), row[0]
            )
            raw = (shard, *at, row["position"], fit(account), f"it names nobody; {actor} says whose it is: {reason}")
            await pg.copy_records_to_table("quarantined", records=[(*raw, entry)], columns=QUARANTINED_COLUMNS)
            await pg.execute(
                "UPDATE shards SET cursor_epoch = $2, cursor_n = $3, position = position + 1 WHERE shard = $1",
                shard,
                *at,
            )
        await pg.execute("UPDATE shards SET stopped = '' WHERE shard = $1", shard)


async def _nameless(
    primaries: Primaries, shard: int, account: str, cursor: RecordId, opened_epoch: int
) -> tuple[RecordId, bytes]:
    """The record after the cursor, which says not whose it is."""
    if keys.shard_of(account) != shard:
        raise NotSettled(f"account {account} is of shard {keys.shard_of(account)}")
    look = await StreamReader(_primary(primaries, shard)).after({shard: cursor}, 1)
    if look.server.epoch_of(shard) != opened_epoch:
        raise NotSettled("the live store is not open")
    for entry in look.entries.get(shard, ()):
        try:
            call = decode(entry)
        except Undecodable:
            at = parse_id(entry[0])
            if follows(cursor, at, opened_epoch):
                return at, pack_raw(entry[1])
            raise NotSettled(f"{at} does not follow {cursor}") from None
        raise NotSettled(f"the next record, {call.id}, is of account {call.record.account}: resume without naming one")
    raise NotSettled("there is no record after the cursor")


async def _taken(pg: Any, account: str) -> tuple[int, list[tuple[int, RecordedCall]]]:
    """The shard, which stands still from here on, and the account's records with their positions."""
    shard = await pg.fetchval(
        "SELECT shard FROM quarantined WHERE settled_at IS NULL AND account = $1 LIMIT 1", fit(account)
    )
    await pg.execute("SELECT FROM shards WHERE shard = $1 FOR UPDATE", shard)
    rows = await pg.fetch(
        "SELECT epoch, n, position, entry FROM quarantined WHERE settled_at IS NULL AND account = $1 ORDER BY position",
        fit(account),
    )
    if not rows:
        raise NotSettled(f"account {account} is not in quarantine")
    return shard, [(row["position"], _call(row, account)) for row in rows]


def _call(row: Any, account: str) -> RecordedCall:
    at, fields = RecordId(row["epoch"], row["n"]), _FIELDS.decode(row["entry"])
    try:
        call = decode([f"{at.epoch}-{max(at.n, 0)}".encode(), fields])
    except Undecodable as why:
        named = dict(zip(fields[::2], fields[1::2], strict=False))
        record = Record(FORMAT, BROKEN, account, "")
        call = RecordedCall(at, record, named.get(b"r", b""), None, named.get(b"s"), None, None, None, fields, str(why))
    call.id = at  # that of an opening's snapshot is below 0, which no stream has
    return call


async def _put(pg: Any, rows: Rows) -> None:
    try:
        async with pg.transaction():
            await put(pg, rows, await pg.fetchval(f"SELECT {NOW_MS}"))
    except REFUSALS as why:
        raise NotSettled(f"PostgreSQL refuses them: {described(why)}") from None


async def _settle(pg: Any, account: str, how: str, actor: str, reason: str) -> None:
    await pg.execute(
        "UPDATE quarantined SET settled_at = now(), settled_as = $2, settled_by = $3, reason = $4"
        " WHERE settled_at IS NULL AND account = $1",
        fit(account),
        how,
        actor,
        reason,
    )
