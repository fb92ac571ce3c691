"""Structs of the live store to octets and back; pure, so that model and tests use the same."""

from __future__ import annotations

from typing import Final

import msgspec

from balances.structs.account import MAIN, NEVER, Account, Bucket, SuspendReasons
from balances.structs.blob import FORMAT, blob_of
from balances.structs.posting import PostingOutcome
from balances.structs.session import Answer, Session
from tariffs.ladder import Ladder

_encode: Final = msgspec.msgpack.Encoder().encode
_account: Final = msgspec.msgpack.Decoder(Account).decode
_session: Final = msgspec.msgpack.Decoder(Session).decode
_answer: Final = msgspec.msgpack.Decoder(Answer).decode
_posted: Final = msgspec.msgpack.Decoder(PostingOutcome).decode
_ladder: Final = msgspec.msgpack.Decoder(Ladder).decode


def unpack_account(packed: bytes) -> Account:
    return _account(packed)


def unpack_session(packed: bytes) -> Session:
    return _session(packed)


def unpack_answer(raw: msgspec.Raw) -> Answer:
    """One of `Session.answers`."""
    return _answer(blob_of(raw))


def unpack_posted(packed: bytes) -> PostingOutcome:
    return _posted(packed)


def unpack_ladder(packed: bytes) -> Ladder:
    return _ladder(packed)


def pack(struct: msgspec.Struct) -> bytes:
    return _encode(struct)


def fresh_account(account_id: str, currency: str, **fields: int) -> Account:
    """An account nothing has happened to, with its main money bucket."""
    account = Account(
        version=FORMAT,
        id=account_id,
        currency=currency,
        rev=1,
        profile_rev=0,
        seq=0,
        clock_ms=0,
        state=SuspendReasons.ACTIVE,
        credit_limit=0,
        suspend_below=NEVER,
        resume_at=NEVER,
        next_bucket=1,
        buckets=[Bucket(MAIN, 0, 0, name="main")],
        counters=[],
    )
    for name, value in fields.items():
        setattr(account, name, value)
    return account
