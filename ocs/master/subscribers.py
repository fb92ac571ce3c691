"""Subscribers: their identities, their tariffs, and the account that pays."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from ocs.backoffice.errors import IdentityTaken, Invalid, NotFound, Unresolved
from ocs.master.changes import Expect, change
from ocs.master.default_thresholds import members_changed
from ocs.master.fee_assignments import follow_subscribers
from ocs.master.former_payers import note_ceased
from ocs.tags import read as read_tags
from ocs.tags import written
from tariffs.catalog import Assignment

if TYPE_CHECKING:
    from asyncpg import Connection, Pool, Record


class Subscriber(msgspec.Struct, frozen=True):
    id: str
    account: str
    identities: tuple[str, ...]
    tariffs: tuple[Assignment, ...]
    barred: bool = False
    version: int = 0
    created_ms: int = 0
    attributes: dict[str, str] = {}
    """What tariffs may ask of it: name -> value."""
    payers: dict[str, str] = {}
    """By service, the account that pays for it in the place of `account`."""
    tags: dict[str, str] = {}
    """Charging tags of all that it is charged."""

    def paid_by(self, service: str) -> str:
        """The account that pays for this service; "" is any that has no payer of its own."""
        return self.payers.get(service, self.account)

    @property
    def accounts(self) -> set[str]:
        """All that pay for something."""
        return {self.account, *self.payers.values()}

    def payer(self, service: str) -> str:
        """The account that pays for it."""
        return self.payers.get(service, self.account)


class Saved(msgspec.Struct, frozen=True):
    """The subscriber after a `put`, and what was there before."""

    now: Subscriber
    before: Subscriber | None
    changed: bool


FIND: Final = """
    SELECT s.id, s.account, s.barred, s.attributes, s.tags, s.change AS version,
        (extract(epoch FROM s.created_at) * 1000)::bigint AS created_ms,
        ARRAY(SELECT identity FROM identities i WHERE i.subscriber = s.id AND identity <> 'subscriber:' || s.id
              ORDER BY identity) AS identities,
        COALESCE((SELECT json_agg(json_build_array(tariff, from_ms, until_ms) ORDER BY place)
                  FROM assignments a WHERE a.subscriber = s.id), '[]')::text AS tariffs,
        COALESCE((SELECT json_object_agg(service, p.account ORDER BY service)
                  FROM payers p WHERE p.subscriber = s.id), '{}')::text AS payers
    FROM subscribers s
"""


def assignments_of(text: str) -> tuple[Assignment, ...]:
    """Assignments from `json_agg(json_build_array(tariff, from_ms, until_ms))`."""
    return msgspec.json.decode(text, type=tuple[Assignment, ...])


ASSIGNMENT_COLUMNS: Final = ("subscriber", "place", "tariff", "from_ms", "until_ms", "due_ms")


def assignment_record(
    subscriber: str, place: int, given: Assignment, now_ms: int
) -> tuple[str, int, str, int, int, int | None]:
    """The columns above. Its next begin or end is due, for the sessions that are open then (docs/enforcement.md)."""
    due_ms = min((instant for instant in (given.from_ms, given.until_ms) if instant > now_ms), default=None)
    return subscriber, place, given.tariff, given.from_ms, given.until_ms, due_ms


def attributes_of(text: str) -> dict[str, str]:
    """Attributes from the text of a jsonb column."""
    return msgspec.json.decode(text, type=dict[str, str])


def _subscriber(record: Record) -> Subscriber:
    return Subscriber(
        id=record["id"],
        account=record["account"],
        identities=tuple(record["identities"]),
        tariffs=assignments_of(record["tariffs"]),
        barred=record["barred"],
        version=record["version"],
        created_ms=record["created_ms"],
        attributes=attributes_of(record["attributes"]),
        payers=attributes_of(record["payers"]),
        tags=read_tags(record["tags"]),
    )


async def get(pool: Pool | Connection, subscriber: str) -> Subscriber | None:
    record = await pool.fetchrow(f"{FIND} WHERE s.id = $1", subscriber)
    return _subscriber(record) if record else None


async def by_identity(pool: Pool, identity: str) -> Subscriber | None:
    query = f"{FIND} WHERE s.id = (SELECT subscriber FROM identities WHERE identity = $1)"
    record = await pool.fetchrow(query, identity)
    return _subscriber(record) if record else None


async def named(pool: Pool, text: str, identities: Sequence[str], limit: int) -> Sequence[Subscriber]:
    """Subscribers that the text names by their id, or that have one of the identities."""
    query = (
        f"{FIND} WHERE s.id = $1 OR s.id IN (SELECT subscriber FROM identities WHERE identity = ANY($2))"
        " ORDER BY s.id LIMIT $3"
    )
    return [_subscriber(record) for record in await pool.fetch(query, text, list(identities), limit)]


async def stored_passwords(pool: Pool, ids: Collection[str]) -> dict[str, str]:
    """As they are kept, of those that have one."""
    rows = await pool.fetch("SELECT id, password FROM subscribers WHERE id = ANY($1) AND password <> ''", list(ids))
    return {row["id"]: row["password"] for row in rows}


async def served(pool: Pool, account: str, uses: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Which of these uses, each a subscriber and a service, the account pays for: the subscriber is neither barred nor
    deleted, nor does another account pay."""
    query = (
        "SELECT u.subscriber, u.service FROM unnest($1::text[], $2::text[]) AS u(subscriber, service)"
        " JOIN subscribers s ON s.id = u.subscriber"
        " LEFT JOIN payers p ON p.subscriber = s.id AND p.service = u.service"
        " WHERE NOT s.barred AND COALESCE(p.account, s.account) = $3"
    )
    rows = await pool.fetch(query, [one for one, _ in uses], [service for _, service in uses], account)
    return {(row["subscriber"], row["service"]) for row in rows}


async def page(pool: Pool, account: str | None, after: str, limit: int) -> Sequence[Subscriber]:
    of_it = "s.id IN (SELECT subscriber FROM paying WHERE account = $3)"
    query = f"{FIND} WHERE s.id > $1 AND ($3::text IS NULL OR {of_it}) ORDER BY s.id LIMIT $2"
    return [_subscriber(record) for record in await pool.fetch(query, after, limit, account)]


async def put(pool: Pool, wanted: Subscriber, password: str | None, now_ms: int, expect: Expect) -> Saved:
    """Create or change the subscriber. A password, as it is kept (passwords.py), of None leaves it as it is, ""
    removes it."""
    async with change(pool) as (db, number):
        before = await get(db, wanted.id)
        if before is not None and password is None and _content(before) == _content(wanted):
            return Saved(before, before, changed=False)  # also a repeat whose answer was lost: RFC 9110 section 13.1.1
        expect(before.version if before else None)
        return await _save(db, number, before, wanted, password, now_ms)


async def _save(
    db: Connection, number: int, before: Subscriber | None, wanted: Subscriber, password: str | None, now_ms: int
) -> Saved:
    await _check_references(db, wanted)
    await db.execute(
        "INSERT INTO subscribers (id, account, password, barred, change, attributes, tags)"
        " VALUES ($1, $2, NULLIF($3, ''), $4, $5, $7, $8)"
        " ON CONFLICT (id) DO UPDATE SET account = $2, barred = $4, change = $5, attributes = $7, tags = $8,"
        " password = CASE WHEN $3::text IS NULL THEN subscribers.password ELSE NULLIF($3, '') END,"
        " moved_ms = CASE WHEN subscribers.account = $2 THEN subscribers.moved_ms ELSE $6 END",
        wanted.id,
        wanted.account,
        password,
        wanted.barred,
        number,
        now_ms,
        msgspec.json.encode(wanted.attributes).decode(),
        written(wanted.tags),
    )
    if await _inherits(db, wanted.identities):  # sessions under that identity may still be another subscriber's
        await db.execute("UPDATE subscribers SET moved_ms = $2 WHERE id = $1", wanted.id, now_ms)
    await _set_identities(db, wanted.id, (*wanted.identities, f"subscriber:{wanted.id}"), number)
    await db.execute("DELETE FROM assignments WHERE subscriber = $1", wanted.id)
    await db.executemany(
        f"INSERT INTO assignments ({', '.join(ASSIGNMENT_COLUMNS)}) VALUES ($1, $2, $3, $4, $5, $6)",
        [assignment_record(wanted.id, place, one, now_ms) for place, one in enumerate(wanted.tariffs)],
    )
    await db.execute("DELETE FROM payers WHERE subscriber = $1", wanted.id)
    await db.executemany(
        "INSERT INTO payers (subscriber, service, account) VALUES ($1, $2, $3)",
        [(wanted.id, service, account) for service, account in wanted.payers.items()],
    )
    await _touch(db, wanted.accounts | (before.accounts if before else set()), number)
    await members_changed(db, _pairs(wanted) | (_pairs(before) if before else set()), number)
    if before is not None:
        await note_ceased(db, _ceased(before, wanted), number, now_ms)
    await follow_subscribers(db, [wanted.id], now_ms)
    now = await get(db, wanted.id)
    assert now is not None
    return Saved(now, before, changed=True)


async def move_all(db: Connection, number: int, source: str, target: str, now_ms: int, most: int) -> int:
    """All that one account pays for another one pays for from now on; returns of how many subscribers. Raises Invalid
    where they are more than `most`. In a transaction of master data, with its number."""
    rows = await db.fetch(
        f"{FIND} WHERE s.id IN (SELECT subscriber FROM paying WHERE account = $1) ORDER BY s.id LIMIT $2",
        source,
        most + 1,
    )
    if len(rows) > most:
        raise Invalid("into", f"at most {most} subscribers are moved by a merge: move some before")
    for before in map(_subscriber, rows):
        payers = {service: target if payer == source else payer for service, payer in before.payers.items()}
        account = target if before.account == source else before.account
        payers = {service: payer for service, payer in payers.items() if payer != account}
        moved = msgspec.structs.replace(before, account=account, payers=payers)
        await _save(db, number, before, moved, None, now_ms)
    return len(rows)


async def delete(pool: Pool, subscriber: str, now_ms: int, expect: Expect) -> Subscriber:
    """Delete the subscriber. Its account stays, with all that was charged."""
    async with change(pool) as (db, number):
        before = await get(db, subscriber)
        if before is None:
            raise NotFound(f"there is no subscriber {subscriber}")
        expect(before.version)
        await _set_identities(db, subscriber, (), number)
        await db.execute("DELETE FROM assignments WHERE subscriber = $1", subscriber)
        await follow_subscribers(db, [subscriber], now_ms)
        await db.execute("DELETE FROM subscribers WHERE id = $1", subscriber)
        await _touch(db, before.accounts, number)
        await members_changed(db, _pairs(before), number)
        await note_ceased(db, _ceased(before, None), number, now_ms)
        return before


def _pairs(subscriber: Subscriber) -> set[tuple[str, str]]:
    return {(account, assignment.tariff) for account in subscriber.accounts for assignment in subscriber.tariffs}


def _ceased(before: Subscriber, after: Subscriber | None) -> list[tuple[str, str]]:
    """Identities, each with an account that paid for some service and does not pay for it any more. after: None where
    the subscriber is deleted"""
    own = f"subscriber:{before.id}"
    kept, left = set[str](), before.accounts
    if after is not None:
        kept, services = {*after.identities, own}, ("", *before.payers, *after.payers)
        left = {before.paid_by(one) for one in services if before.paid_by(one) != after.paid_by(one)}
    names = (*before.identities, own)
    return [(name, account) for name in names for account in sorted(left if name in kept else before.accounts)]


def _content(subscriber: Subscriber) -> tuple[object, ...]:
    identities = sorted(subscriber.identities)
    paid = subscriber.account, subscriber.payers
    return paid, identities, subscriber.tariffs, subscriber.barred, subscriber.attributes, subscriber.tags


async def _check_references(db: Connection, wanted: Subscriber) -> None:
    known = {row["id"] for row in await db.fetch("SELECT id FROM accounts WHERE id = ANY($1)", list(wanted.accounts))}
    if missing := sorted(wanted.accounts - known):
        raise Unresolved(f"there is no account {', '.join(missing)}")
    taken = await db.fetch(
        "SELECT identity, subscriber FROM identities WHERE identity = ANY($1) AND subscriber <> $2 ORDER BY identity",
        list(wanted.identities),
        wanted.id,
    )
    if taken:
        owners = ", ".join(f"{row['identity']} to {row['subscriber']}" for row in taken)
        raise IdentityTaken(f"an identity belongs to one subscriber at a time: {owners}")
    tariffs = sorted({assignment.tariff for assignment in wanted.tariffs})
    published = {row["id"] for row in await db.fetch("SELECT DISTINCT id FROM tariffs WHERE id = ANY($1)", tariffs)}
    if unknown := [tariff for tariff in tariffs if tariff not in published]:
        raise Unresolved(f"there is no tariff {', '.join(unknown)}")


async def _inherits(db: Connection, identities: Sequence[str]) -> bool:
    """Whether one of these identities belonged to another subscriber before."""
    query = "SELECT EXISTS (SELECT FROM identities WHERE identity = ANY($1) AND subscriber IS NULL)"
    return bool(await db.fetchval(query, list(identities)))


async def _set_identities(db: Connection, subscriber: str, identities: Sequence[str], number: int) -> None:
    await db.execute(
        "UPDATE identities SET subscriber = NULL, change = $3 WHERE subscriber = $1 AND identity <> ALL($2)",
        subscriber,
        list(identities),
        number,
    )
    await db.executemany(
        "INSERT INTO identities (identity, subscriber, change) VALUES ($1, $2, $3)"
        " ON CONFLICT (identity) DO UPDATE SET subscriber = $2, change = $3",
        [(identity, subscriber, number) for identity in identities],
    )


async def _touch(db: Connection, accounts: Iterable[str], number: int) -> None:
    await db.execute("UPDATE accounts SET members_change = $2 WHERE id = ANY($1)", list(accounts), number)
