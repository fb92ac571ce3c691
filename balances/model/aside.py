"""Use that is set aside, of nobody known: on record, and nothing else is kept of it. Twin of lua/aside.lua."""

from __future__ import annotations

from balances.model.kept import Appended, ModelStore
from balances.structs.charge import Reply
from balances.structs.record import Record


def aside(store: ModelStore, record: Record, context: bytes = b"") -> Reply:
    store.ledger.append(Appended(record, context=context))
    return Reply("ok")
