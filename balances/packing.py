"""Structs of the live store to octets and back; pure, so that model and tests use the same."""

from __future__ import annotations

from typing import Final

import msgspec

from balances import ops
from tariffs.ladder import Ladder

_encode: Final = msgspec.msgpack.Encoder().encode
_account: Final = msgspec.msgpack.Decoder(ops.Account).decode
_session: Final = msgspec.msgpack.Decoder(ops.Session).decode
_answer: Final = msgspec.msgpack.Decoder(ops.Answer).decode
_posted: Final = msgspec.msgpack.Decoder(ops.PostingOutcome).decode
_ladder: Final = msgspec.msgpack.Decoder(Ladder).decode


def unpack_account(packed: bytes) -> ops.Account:
    return _account(packed)


def unpack_session(packed: bytes) -> ops.Session:
    return _session(packed)


def unpack_answer(raw: msgspec.Raw) -> ops.Answer:
    """One of `Session.answers`."""
    return _answer(ops.blob(raw))


def unpack_posted(packed: bytes) -> ops.PostingOutcome:
    return _posted(packed)


def unpack_ladder(packed: bytes) -> Ladder:
    return _ladder(packed)


def pack(struct: msgspec.Struct) -> bytes:
    return _encode(struct)


def fresh_account(account_id: str, currency: str, **fields: int) -> ops.Account:
    """An account nothing has happened to, with its main money bucket."""
    account = ops.Account(
        version=ops.FORMAT,
        id=account_id,
        currency=currency,
        rev=1,
        profile_rev=0,
        seq=0,
        clock_ms=0,
        state=ops.SuspendReasons.ACTIVE,
        credit_limit=0,
        suspend_below=ops.NEVER,
        resume_at=ops.NEVER,
        next_bucket=1,
        buckets=[ops.Bucket(ops.MAIN, 0, 0, name="main")],
        counters=[],
    )
    for name, value in fields.items():
        setattr(account, name, value)
    return account
