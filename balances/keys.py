"""The only place a key is spelled, and read again. `{s012}` is the hash tag of a shard: all keys of one call share it.

Session-Ids, Origin-Hosts and Idempotency-Keys are whatever their sender likes. In a key each stands as a `part`, in
which the characters that separate parts do not occur, so no text can imitate the parts of another key: "%", "|", blanks
and control characters are written as "%" and two hexadecimal digits. A usual Session-Id is its own key.
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import blake2b
from typing import Final, NamedTuple, Self
from zlib import crc32

SHARDS: Final = 256
"""Fixed when a store is created and compared with PostgreSQL at every start (durability.md)."""

TAGS: Final = tuple(f"{{s{shard:03}}}" for shard in range(SHARDS))
NUMBER_IN_TAG: Final = slice(2, 5)
"""Where a key that begins with a tag names its shard."""
NUMBERS: Final = tuple(tag[NUMBER_IN_TAG] for tag in TAGS)

PUBLISHED: Final = "published"
"""`<replid> <epoch>`: which history of the server is open, for workers of versions that know of one server only. It is
written where one server has all shards; `published(shard)` is what is read."""

INSTALLATION: Final = "installation"
"""Id of the installation whose store this is, the same as in PostgreSQL."""

PROJECTED: Final = "projected"
"""Change number of the master data that is completely projected; absent = "unknown user" may not be said."""

CATALOG: Final = "catalog"
"""Hash `version`, `documents`, `files`, `rates`: what prices are made of (ocs/master/catalog.py)."""

REMARKS: Final = "peer-remarks"
"""Hash `<peer> <mark>` -> how often: what was unusual about the requests of each configured peer (`remark`)."""

LIBRARIES: Final = "libraries"
"""Sorted set: library of functions -> when somebody who uses it last said so, by the server's clock (libraries.py)."""

FORMAT: Final = "format"
"""`<written> <announced>`: stored formats, mirrored from PostgreSQL (balances/ledger/formats.py)."""

SESSION_REQUESTS: Final = "session-requests"
"""Channel of requests to network elements (RAR, ASR)."""

NEWS: Final = "news"
"""Channel of hints: shards that were called lately, one octet each (balances/redis/news.py)."""

NEWS_NOW: Final = "news:now"
"""The same, where somebody acts on what was written: to be looked at at once."""

NEWS_JOBS: Final = "news:jobs"
"""Channel of hints: a person wishes something of a job (ocs/enforcement)."""


TRACES: Final = "traces"
"""Hash: id of a trace -> what is to be seen, by whom, and until when (ocs/tracing/wish.py)."""


def trace_channel(trace: str) -> str:
    """Channel of what a trace sees. Nothing of it is kept."""
    return f"trace:{trace}"


REFUSALS: Final = "refusals"
"""Hash: who was refused and why -> how often (ocs/stores/refusal_book.py)."""

REFUSALS_LAST: Final = "refusals:last"
"""Sorted set: the same -> when that was last."""

ORIGINS: Final = "origins"
"""Sorted set: the highest Origin-State-Id of each host, in lower case."""

ORIGINS_ENDED: Final = "origins:ended"
"""Sorted set: the value below which the sessions of a host are ended already."""

ORIGINS_DOUBTED: Final = "origins:doubted"
"""Set: hosts that said a lower value after a higher one. A person who knows better takes them out."""

ORIGINS_CHANGES: Final = "origins:changes"
"""Raised with each change of the three."""

RADIUS_ADDRESSES: Final = "radius:addresses"
"""Sorted set: address a RADIUS client sends from -> when it was heard of last."""

RADIUS_REQUIRED: Final = "radius:required"
"""Hash `<address> <rule>` -> since when it is required (ocs/charging/radius/ladder.py)."""

RADIUS_HOMES: Final = "radius:homes"
"""Hash `<address of a home server> <worker>` -> how that worker finds it (ocs/net/radius/home_book.py)."""

RADIUS_REQUIRED_CHANGES: Final = "radius:required:changes"
"""Raised with each change of it."""

ORIGINS_WALK: Final = "origins:walk"
"""How far the ending is (ocs/enforcement/restarts.py)."""


_SEPARATING: Final = re.compile(r"[%|\x00-\x20\x7f-\xa0]")
_WRITTEN: Final = re.compile(r"%([0-9A-F]{2})")


def part(text: str) -> str:
    """A text as it stands in a key, without separators; `text_of` reads it."""
    return _SEPARATING.sub(lambda found: f"%{ord(found.group()):02X}", text)


def text_of(written: str) -> str:
    """The text a part was made of. ValueError: no `part` was written like this."""
    text = _WRITTEN.sub(lambda found: chr(int(found.group(1), 16)), written)
    if part(text) != written:
        raise ValueError(f"{written!r} is not a part of a key")
    return text


# --- sessions


class SessionName(NamedTuple):
    """What a session is called on the wire."""

    session_id: str
    sub_session: int | None = None
    """CC-Sub-Session-Id."""
    origin_host: str | None = None
    """Of the client, where its Session-Ids are not unique without (charging.md section 3)."""


def session_key(session_id: str, sub_session: int | None = None, origin_host: str | None = None) -> str:
    """What a session is called with us: `<Session-Id>[|<CC-Sub-Session-Id>[|<Origin-Host>]]`, each a part."""
    if sub_session is None and origin_host is None:
        return part(session_id)
    sub = "" if sub_session is None else f"|{sub_session}"
    return part(session_id) + (sub if origin_host is None else f"{sub or '|'}|{part(origin_host)}")


def session_name(key: str) -> SessionName:
    """The inverse of `session_key`. ValueError: it made no such key."""
    first, *more = key.split("|")
    sub = int(more[0]) if more and more[0].isascii() and more[0].isdecimal() else None
    name = SessionName(text_of(first), sub, text_of(more[1]) if len(more) > 1 else None)
    if session_key(*name) != key:
        raise ValueError(f"{key!r} is not the key of a session")
    return name


def session_keys_of(text: str) -> list[str]:
    """Keys a person may mean: the key itself, or a Session-Id as it is on the wire."""
    try:
        session_name(text)
    except ValueError:
        return [part(text)]
    return list(dict.fromkeys((text, part(text))))


# --- what is done once


def event_key(session: str, number: int, end_to_end: int | None = None) -> str:
    """Once key of an event. end_to_end: of a client that uses numbers again."""
    key = f"event {session} {number}"
    return key if end_to_end is None else f"{key}:{end_to_end}"


def fee_chain(subscriber: str, tariff: str, began_ms: int, fee: str) -> str:
    """Names a recurring fee of an assignment for ever (FeeMark.chain); short, because accounts carry it."""
    text = f"{part(subscriber)}|{part(tariff)}|{began_ms}|{part(fee)}"
    return b64encode(blake2b(text.encode(), digest_size=9).digest()).decode()


class FeeKey(NamedTuple):
    """Names a period of a recurring fee on record."""

    subscriber: str
    tariff: str
    began_ms: int
    """When the assignment began that it is of."""
    fee: str
    from_day: str
    """2026-11-01"""
    until_day: str
    """First day after it."""
    amount: int
    """What the period costs, in micro-units."""

    def __str__(self) -> str:
        return "|".join(("fee", *(part(str(each)) for each in self)))

    @classmethod
    def of(cls, key: str) -> Self:
        """ValueError for another key."""
        word, *parts = key.split("|")
        if word != "fee" or len(parts) != len(cls._fields):
            raise ValueError(f"{key!r} names no fee")
        subscriber, tariff, began_ms, fee, from_day, until_day, amount = map(text_of, parts)
        return cls(subscriber, tariff, int(began_ms), fee, from_day, until_day, int(amount))


def renumbered(event: str, fingerprint: str) -> str:
    """Once key of another event under the key of a first one."""
    return f"{event} {fingerprint}"


def refund_key(token: bytes) -> str:
    """Once key that a Refund-Information from the wire names: that of an event, never of anything else."""
    text = token.decode("utf-8", "replace")
    return text if text.startswith("event ") else f"token {part(text)}"  # not one of ours: there is none


def request_key(caller: str, idempotency_key: str) -> str:
    """Once key of a request over HTTP: Idempotency-Keys are scoped to their caller."""
    return f"http {part(caller)} {part(idempotency_key)}"


def idempotency_key(key: str) -> str:
    """As the caller sent it; the inverse of `request_key`."""
    return text_of(key.rpartition(" ")[2])


def suspense_key(suspense_id: str) -> str:
    """Once key of the entry that charges what was set aside: each is charged once, also when two processes post it."""
    return f"suspense {suspense_id}"


def suspense_id(key: str) -> str | None:
    """The inverse of `suspense_key`; None: it made no such key."""
    return key.removeprefix("suspense ") if key.startswith("suspense ") else None


def transfer_key(transfer: str) -> str:
    """Once key of the leg of a transfer that reaches the other account."""
    return f"transfer {transfer}"


def transfer_return_key(transfer: str) -> str:
    """Once key of the leg that brings it back, where the other account does not take it."""
    return f"transfer-return {transfer}"


def merge_key(transfer: str) -> str:
    """Once key of the first leg of a merge: an account is closed, and all it has is on its way."""
    return f"merge {transfer}"


def reversal_key(seq: int) -> str:
    """Once key of what takes a posting back, by its first entry: of one posting there is one."""
    return f"reversal {seq}"


def is_later_leg(key: str) -> bool:
    """Whether it is one of these two; the first leg has the key that the transfer was asked for with."""
    return key.startswith("transfer ") or is_return_leg(key)


def is_return_leg(key: str) -> bool:
    return key.startswith("transfer-return ")


def found_leg_key(key: str, transfer: str) -> str:
    """Once key of what puts a leg in order whose record was lost. key: that of the leg"""
    leg = key.partition(" ")[0] if is_later_leg(key) else "sent"
    return f"{leg} {transfer} recovered"


def voucher_key(batch: str, serial: int) -> str:
    """Once key of the entry that credits a voucher: each is credited once, whoever completes its claim."""
    return f"voucher {part(batch)} {serial}"


def voucher_of(key: str) -> tuple[str, int] | None:
    """The inverse of `voucher_key`; None: it made no such key."""
    kind, _, rest = key.partition(" ")
    batch, _, serial = rest.partition(" ")
    return (text_of(batch), int(serial)) if kind == "voucher" and serial.isdecimal() else None


# --- in Redis


def shard_of(account: str) -> int:
    return crc32(account.encode()) % SHARDS


def account(account_id: str) -> str:
    return f"{TAGS[shard_of(account_id)]}:acct:{account_id}"


def once(account_id: str, key: str) -> str:
    return f"{TAGS[shard_of(account_id)]}:once:{part(account_id)} {key}"


def due(shard: int) -> str:
    return f"{TAGS[shard]}:due"


def due_member(account_id: str, session: str = "") -> str:
    """Member of `due`: a session, or the account itself for its buckets. No key of a session has a line break."""
    return f"{account_id}\n{session}"


def due_parts(member: str) -> tuple[str, str]:
    """(account, session) of a member of `due`."""
    account_id, _, session = member.rpartition("\n")
    return account_id, session


def ledger(shard: int) -> str:
    return f"{TAGS[shard]}:ledger"


def projected(shard: int) -> str:
    """In a cluster: the change number up to which the master data on the primary of this shard is projected."""
    return f"{TAGS[shard]}:projected"


def told(shard: int) -> str:
    """In a cluster: the change number up to which the accounts of this shard were told of master data."""
    return f"{TAGS[shard]}:told"


def replicated(shard: int) -> str:
    """Written so that what replicas are asked about is newer than all before it (connection.py)."""
    return f"{TAGS[shard]}:replicated"


def published(shard: int) -> str:
    """`<replid> <epoch>`: under which history of a server the shard is open, mirrored from PostgreSQL."""
    return f"{TAGS[shard]}:published"


def own(shard: int, name: str) -> str:
    """What a primary of a cluster has for itself, under the tag of one of its shards."""
    return f"{TAGS[shard]}:{name}"


def where(session: str) -> str:
    """Which account and subscriber a session belongs to, for requests that name nobody."""
    return f"where:{session}"


def place(account_id: str, subscriber: str) -> str:
    """Value of `where`."""
    return f"{part(account_id)} {part(subscriber)}"


def place_parts(value: str) -> tuple[str, str]:
    """(account, subscriber)"""
    account_id, _, subscriber = value.partition(" ")
    return text_of(account_id), text_of(subscriber)


def radius_address(address: str) -> str:
    """Hash of what an address of a RADIUS client has done (ocs/net/radius/conduct_book.py)."""
    return f"radius:address:{address}"


def remark(peer: str, mark: str) -> str:
    """Field of REMARKS."""
    return f"{part(peer)} {mark}"


def remark_parts(field: str) -> tuple[str, str]:
    """(peer, mark)"""
    peer, _, mark = field.partition(" ")
    return text_of(peer), mark


def profile(identity: str) -> str:
    return f"profile:{identity}"


@cache
def _nobodies() -> tuple[str, ...]:
    found: dict[int, str] = {}
    number = 0
    while len(found) < SHARDS:
        name = f"~suspense.{number}"
        found.setdefault(shard_of(name), name)
        number += 1
    return tuple(found[shard] for shard in range(SHARDS))


def nobody(session: str) -> str:
    """The account that use of nobody known is put on record under: each shard has one, so that a flood of unknown
    users is spread. Redis keeps no state of it."""
    return _nobodies()[crc32(session.encode()) % SHARDS]


def is_nobody(account_id: str) -> bool:
    """Ids of accounts begin with a letter or a digit."""
    return account_id.startswith("~")


class AccountKeys:
    """The keys of one account, spelled once: workers keep these with the profile."""

    __slots__ = ("account", "due", "ledger", "shard")

    def __init__(self, account_id: str) -> None:
        self.shard = shard_of(account_id)
        tag = TAGS[self.shard]
        self.account = f"{tag}:acct:{account_id}"
        self.due = f"{tag}:due"
        self.ledger = f"{tag}:ledger"
