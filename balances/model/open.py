"""Bring an account in, new with its opening balances or restored from PostgreSQL, only if it is absent. Twin of
lua/open.lua."""

from __future__ import annotations

import msgspec

from balances import keys
from balances.model.account import AccountChange
from balances.model.kept import Appended, ModelStore
from balances.model.life import look_at_grace
from balances.model.reached import limits_due
from balances.packing import unpack_account, unpack_session
from balances.structs.blob import blob_of
from balances.structs.charge import Reply
from balances.structs.posting import AccountOpening
from balances.structs.session import IdempotencyRecord


def open(store: ModelStore, account_id: str, opening: AccountOpening) -> Reply:  # noqa: A001
    if account_id in store.accounts:
        return Reply("exists")
    change = AccountChange(unpack_account(blob_of(opening.account)), 0)
    account, now_ms = change.account, opening.now_ms
    record = change.change_record(
        opening.kind, entries=opening.entries, actor=opening.actor, at_ms=now_ms, event_ms=now_ms
    )
    for bucket in account.buckets:
        change.look_at_end(bucket)
    # Also one that is past: nobody was told yet that there is room (charging.md 15).
    if room_ms := limits_due(account, 0):
        change.due_ms = min(change.due_ms or room_ms, room_ms)
    look_at_grace(change)
    store.ledger.append(Appended(record, account))
    store.accounts[account_id] = account
    for kept in opening.sessions:
        store.sessions.setdefault(account_id, {})[kept.key] = unpack_session(blob_of(kept.packed))
        store.due[keys.due_member(account_id, kept.key)] = kept.until_ms
    for kept in opening.answers:
        answer = msgspec.msgpack.decode(blob_of(kept.packed), type=IdempotencyRecord)
        store.answers[account_id, kept.key] = answer
    if change.due_ms:
        store.look_by(account_id, "", change.due_ms)
    return Reply("ok", blob_of(opening.account))
