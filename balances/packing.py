"""Structs of the live store to octets and back; pure, so that model and tests use the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from balances.structs.account import MAIN, NEVER, Account, AccountField, Bucket, SuspendReasons
from balances.structs.blob import FORMAT, blob_of
from balances.structs.posting import PostingOutcome
from balances.structs.session import Answer, Session
from tariffs.ladder import Ladder

ACCOUNT_FIELD: Final = AccountField.ACCOUNT.encode()
"""As the store sends it."""

_encode: Final = msgspec.msgpack.Encoder().encode
_account: Final = msgspec.msgpack.Decoder(Account).decode
_session: Final = msgspec.msgpack.Decoder(Session).decode
_answer: Final = msgspec.msgpack.Decoder(Answer).decode
_posted: Final = msgspec.msgpack.Decoder(PostingOutcome).decode
_ladder: Final = msgspec.msgpack.Decoder(Ladder).decode


class StoredAccount(NamedTuple):
    """What stands under the key of an account, packed."""

    account: bytes | None
    """None: the store does not have it."""
    sessions: dict[bytes, bytes]
    """By their keys."""


def stored_account(fields: Mapping[bytes, bytes] | Sequence[bytes]) -> StoredAccount:
    """Of all fields of its hash, or of HGETALL as the server sends it: names and values in turn."""
    sessions = dict(fields if isinstance(fields, Mapping) else zip(fields[::2], fields[1::2], strict=True))
    return StoredAccount(sessions.pop(ACCOUNT_FIELD, None), sessions)


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
        thresholds=[],
        services=[],
    )
    for name, value in fields.items():
        setattr(account, name, value)
    return account
