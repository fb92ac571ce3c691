"""The only place a Redis key is spelled. `{s012}` is the hash tag of a shard: all keys of one call share it."""

from __future__ import annotations

from typing import Final
from zlib import crc32

SHARDS: Final = 256
"""Fixed when a store is created and compared with PostgreSQL at every start (nothing-is-lost.md)."""

TAGS: Final = tuple(f"{{s{shard:03}}}" for shard in range(SHARDS))

PUBLISHED: Final = "published"
"""`<replid> <epoch>`: which history of the server is open, mirrored from PostgreSQL."""

PROJECTED: Final = "projected"
"""Change number of the master data that is completely projected; absent = "unknown user" may not be said."""

CATALOG: Final = "catalog"
"""Hash `version`, `documents`, `files`, `rates`: what prices are made of (ocs/master/catalog.py)."""

PUSH: Final = "push"
"""Channel of requests to network elements (RAR, ASR)."""


def shard_of(account: str) -> int:
    return crc32(account.encode()) % SHARDS


def account(account_id: str) -> str:
    return f"{TAGS[shard_of(account_id)]}:acct:{account_id}"


def sessions(account_id: str) -> str:
    return f"{TAGS[shard_of(account_id)]}:sess:{account_id}"


def once(account_id: str, key: str) -> str:
    return f"{TAGS[shard_of(account_id)]}:once:{account_id}:{key}"


def due(shard: int) -> str:
    return f"{TAGS[shard]}:due"


def due_member(account_id: str, session: str = "") -> str:
    """Member of `due`: a session, or the account itself for its buckets."""
    return f"{account_id}\n{session}"


def ledger(shard: int) -> str:
    return f"{TAGS[shard]}:ledger"


def where(session: str) -> str:
    """Which account and subscriber a session belongs to, for requests that name nobody."""
    return f"where:{session}"


def profile(identity: str) -> str:
    return f"profile:{identity}"


def event_key(session: str, number: int) -> str:
    """Once key of an event."""
    return f"{session} {number}"


class AccountKeys:
    """The keys of one account, spelled once: workers keep these with the profile."""

    __slots__ = ("account", "due", "ledger", "sessions", "shard")

    def __init__(self, account_id: str) -> None:
        self.shard = shard_of(account_id)
        tag = TAGS[self.shard]
        self.account = f"{tag}:acct:{account_id}"
        self.sessions = f"{tag}:sess:{account_id}"
        self.due = f"{tag}:due"
        self.ledger = f"{tag}:ledger"
