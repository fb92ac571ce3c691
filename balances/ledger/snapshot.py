"""Closes a gap between PostgreSQL and a stream (durability.md rule 12): accounts as Redis has them now.

What happened inside the gap is gone; what it did to every balance is not. For each account of the shard: one call
`recovered` with its state and one for each of its sessions, and one entry for each bucket whose balance is not what
PostgreSQL knows, so that balances and their sum agree again. Numbers of lost entries are skipped, visibly.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from balances import keys
from balances.ledger.heads import load_chains
from balances.ledger.reader import Client
from balances.ledger.record import SEQ, Chain, RecordedCall, RecordId
from balances.ledger.writer import RECOVERED
from balances.packing import stored_account
from balances.structs.account import Account
from balances.structs.blob import FORMAT
from balances.structs.record import Entry, Record


class Snapshot(NamedTuple):
    """Accounts of one shard, packed and unpacked, with their sessions."""

    accounts: dict[str, tuple[bytes, Account]]
    sessions: dict[str, dict[str, bytes]]

    @classmethod
    async def take(cls, redis: Client, shard: int) -> Snapshot:
        prefix = f"{keys.TAGS[shard]}:acct:".encode()
        accounts, sessions = {}, {}
        async for key in redis.scan_iter(match=prefix + b"*", count=1_000):
            stored = stored_account(await redis.hgetall(key))
            if stored.account is None:
                continue
            account = key[len(prefix) :].decode()
            accounts[account] = (stored.account, _ACCOUNT.decode(stored.account))
            sessions[account] = {name.decode(): value for name, value in stored.sessions.items()}
        return cls(accounts, sessions)


class SnapshotClosed(NamedTuple):
    calls: list[RecordedCall]
    """What to write: the snapshots first, then what the stream still has."""
    accounts: set[str]
    """Accounts that went another way than PostgreSQL knows: to be forgotten."""
    diverged: list[RecordedCall]
    """Their records."""


_ACCOUNT: Final = msgspec.msgpack.Decoder(Account)
_ENCODE: Final = msgspec.msgpack.Encoder()


async def close_gap(pg: object, snapshot: Snapshot, calls: list[RecordedCall], epoch: int) -> SnapshotClosed:
    """`calls` is what the stream has after the gap; `epoch` is that of the opening."""
    chains = await load_chains(pg, snapshot.accounts)
    later: dict[str, list[Entry]] = {}
    for call in calls:
        entries = later.setdefault(call.record.account, [])
        for entry in call.record.entries:
            # A stream of a Redis that had gone back itself may lack some in the middle: what still follows each other
            # is kept, the rest is in the difference.
            if entries and entry.seq != entries[-1].seq + 1:
                entries.clear()
            entries.append(entry)
    snapshots: list[RecordedCall] = []
    diverged = later.keys() - snapshot.accounts.keys() - {""}  # forgotten by an opening that was interrupted
    for name, (packed, account) in snapshot.accounts.items():
        missing = difference(account, later.get(name, []), chains.get(name, {SEQ: 0}))
        if missing is None:
            diverged.add(name)
            continue
        states: list[tuple[str, bytes | None]] = [("", None), *snapshot.sessions[name].items()]
        for session, state in states:
            record = _record(account, session, missing if not session else [])
            # Below 0 no stream counts; `position` puts it before what is copied after it.
            at = RecordId(epoch, -2 - len(snapshots))
            snapshots.append(RecordedCall(at, record, _ENCODE.encode(record), packed, state, None, None, None))
    for call in calls:
        kept = later[call.record.account]
        call.record.entries = [entry for entry in call.record.entries if entry.seq >= kept[0].seq]
    return SnapshotClosed(
        snapshots + [call for call in calls if call.record.account not in diverged],
        diverged,
        [call for call in calls if call.record.account in diverged],
    )


def difference(account: Account, later: list[Entry], chain: Chain) -> list[Entry] | None:
    """Entries that lead from what PostgreSQL knows to where the stream goes on; None if nothing can."""
    seq = later[0].seq - 1 if later else account.seq
    lost = seq - chain[SEQ]
    if lost < 0:
        return None
    amounts = {bucket.id: bucket.amount for bucket in account.buckets}
    kinds = {bucket.id: bucket.kind for bucket in account.buckets}
    for entry in later:
        amounts[entry.bucket] = amounts.get(entry.bucket, 0) - entry.amount
        kinds.setdefault(entry.bucket, entry.kind)
    changed = [
        (bucket, amounts.get(bucket, 0) - chain.get(bucket, 0), amounts.get(bucket, 0))
        for bucket in sorted((amounts.keys() | chain.keys()) - {SEQ})
        if amounts.get(bucket, 0) != chain.get(bucket, 0)
    ]
    if lost == 0:
        return None if changed else []
    if not changed:  # numbers went by, balances came back to where they were
        bucket = account.buckets[0].id
        changed = [(bucket, 0, amounts[bucket])]
    if len(changed) > lost:
        return None
    first = seq - len(changed) + 1
    return [
        Entry(first + i, bucket, kinds.get(bucket, 0), amount, after, "suspense", RECOVERED)
        for i, (bucket, amount, after) in enumerate(changed)
    ]


def _record(account: Account, session: str, entries: list[Entry]) -> Record:
    at_ms = account.clock_ms
    return Record(
        FORMAT, RECOVERED, account.id, account.currency, "", session, "", 0, at_ms, at_ms, "", "", 0, entries, [],
        actor="opening", reason="the stream no longer has what happened here",
    )  # fmt: skip
