"""Many accounts and subscribers at once: which are new, which exist already, which contradict what exists.

What is there is read by a few queries for all of them, `judge` decides one after the other in their order, and the new
ones are copied into the tables. A row that exists is never changed here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from ocs.master.accounts import FIELDS, AccountRow, or_null, row_of
from ocs.master.default_thresholds import members_changed
from ocs.master.fee_assignments import BegunFees, follow_subscribers, go_on
from ocs.master.limits import LIMIT_COLUMNS, LimitOwner, limit_record
from ocs.master.limits import of_all as limits_of_all
from ocs.master.passwords import StoredPasswords
from ocs.master.sealing import CannotOpen
from ocs.master.subscribers import (
    ASSIGNMENT_COLUMNS,
    Subscriber,
    assignment_record,
    assignments_of,
    attributes_of,
)
from ocs.tags import read as read_tags
from ocs.tags import written
from tariffs.limits import SpendingLimit

if TYPE_CHECKING:
    from asyncpg import Connection


Copy = Callable[[str, Sequence[str], Iterable[Sequence[Any]]], Awaitable[None]]
"""Table, columns, rows."""


class Objection(Exception):
    """Why a line is not imported: kind of problem (ocs/api/problems.py), field, and reason in words."""

    def __init__(self, kind: str, field: str, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.field, self.detail = kind, field, detail


class WantedLine(msgspec.Struct, frozen=True):
    """One line: an account, a subscriber, or both. They are imported together or not at all."""

    account: AccountRow | None
    account_says: Mapping[str, Any]
    """Fields of the row that the line states, in its words: only these can contradict an account that exists."""
    subscriber: Subscriber | None
    subscriber_says: Collection[str]
    password: str | None = None
    stored_password: str | None = None
    """As a server kept it, instead."""
    account_limits: Sequence[SpendingLimit] | None = None
    """In the order of their names, as those of the subscriber; None: nothing is said of them."""
    subscriber_limits: Sequence[SpendingLimit] | None = None
    fees: Sequence[BegunFees] = ()
    """Of the subscriber, if it is new."""

    @property
    def limits(self) -> Iterator[tuple[LimitOwner, Sequence[SpendingLimit]]]:
        """What it says of each it names."""
        if self.account is not None and self.account_limits is not None:
            yield LimitOwner(account=self.account.id), self.account_limits
        if self.subscriber is not None and self.subscriber_limits is not None:
            yield LimitOwner(subscriber=self.subscriber.id), self.subscriber_limits


class KnownRows(msgspec.Struct):
    """What exists of all that the lines name; `judge` adds what it accepts."""

    accounts: dict[str, AccountRow] = {}
    subscribers: dict[str, tuple[Subscriber, str | None]] = {}
    """With the password as it is kept (ocs/master/passwords.py)."""
    owners: dict[str, str | None] = {}
    """Of identities; None: somebody had it once."""
    tariffs: set[str] = set()
    limits: dict[LimitOwner, Sequence[SpendingLimit]] = {}

    def over(self, below: KnownRows) -> KnownRows:
        """Both together; where they differ, `self` is the newer one."""
        return KnownRows(
            below.accounts | self.accounts,
            below.subscribers | self.subscribers,
            below.owners | self.owners,
            below.tariffs | self.tariffs,
            below.limits | self.limits,
        )


class NewRows(msgspec.Struct):
    """Rows to be written."""

    accounts: list[AccountRow] = []
    subscribers: list[tuple[Subscriber, str | None]] = []
    inherits: set[str] = set()
    """Subscribers with an identity that was somebody else's."""
    inherited: list[tuple[str, str]] = []
    """(identity, subscriber)."""
    limits: list[tuple[LimitOwner, SpendingLimit]] = []
    fees: list[tuple[str, BegunFees]] = []
    """(subscriber, its fees that go on)."""

    def __bool__(self) -> bool:
        return bool(self.accounts or self.subscribers)


class JudgedLine(NamedTuple):
    """Whether a line created its account and its subscriber; None: it names none."""

    account: bool | None
    subscriber: bool | None


# --- reading ------------------------------------------------------------------------------------------------------

_SUBSCRIBERS: Final = """
    SELECT s.id, s.account, s.barred, s.attributes, s.password, s.tags,
        ARRAY(SELECT identity FROM {tables}identities i WHERE i.subscriber = s.id
              AND identity <> 'subscriber:' || s.id ORDER BY identity) AS identities,
        COALESCE((SELECT json_agg(json_build_array(tariff, from_ms, until_ms) ORDER BY place)
                  FROM {tables}assignments a WHERE a.subscriber = s.id), '[]')::text AS tariffs,
        COALESCE((SELECT json_object_agg(service, p.account) FROM {tables}payers p WHERE p.subscriber = s.id),
                 '{{}}')::text AS payers
    FROM {tables}subscribers s WHERE s.id = ANY($1)
"""


async def read(db: Connection, wanted: Sequence[WantedLine], tables: str = "") -> KnownRows:
    """Read what exists of all that these lines name. tables: schema with a point, where not the usual tables are
    meant."""
    accounts = {one.account.id for one in wanted if one.account is not None}
    people = [one.subscriber for one in wanted if one.subscriber is not None]
    accounts |= {account for one in people for account in one.accounts}
    names = {identity for one in people for identity in _names(one)}
    there = KnownRows()
    for row in await db.fetch(f"SELECT {FIELDS} FROM {tables}accounts WHERE id = ANY($1)", list(accounts)):
        there.accounts[row["id"]] = row_of(row)
    for row in await db.fetch(_SUBSCRIBERS.format(tables=tables), [one.id for one in people]):
        there.subscribers[row["id"]] = _subscriber(row), row["password"]
    query = f"SELECT identity, subscriber FROM {tables}identities WHERE identity = ANY($1)"
    there.owners = {row["identity"]: row["subscriber"] for row in await db.fetch(query, list(names))}
    tariffs = {assignment.tariff for one in people for assignment in one.tariffs}
    found = await db.fetch("SELECT DISTINCT id FROM tariffs WHERE id = ANY($1)", list(tariffs))
    there.tariffs = {row["id"] for row in found}
    if owners := {owner for one in wanted for owner, _ in one.limits}:
        there.limits = await limits_of_all(db, owners, tables)
    return there


def _names(subscriber: Subscriber) -> tuple[str, ...]:
    return (*subscriber.identities, f"subscriber:{subscriber.id}")


def _subscriber(row: Any) -> Subscriber:
    return Subscriber(
        id=row["id"],
        account=row["account"],
        identities=tuple(row["identities"]),
        tariffs=assignments_of(row["tariffs"]),
        barred=row["barred"],
        attributes=attributes_of(row["attributes"]),
        payers=attributes_of(row["payers"]),
        tags=read_tags(row["tags"]),
    )


# --- deciding -----------------------------------------------------------------------------------------------------


def judge(
    there: KnownRows,
    new: NewRows,
    wanted: WantedLine,
    now_ms: int,
    scopes: Collection[str],
    passwords: StoredPasswords,
    stored: str | None,
) -> JudgedLine:
    """Raises an Objection, or adds what is new to `there` and `new`.

    scopes:  the scopes that a bucket may have
    stored:  the password of the line as it would be kept
    """
    account, subscriber = wanted.account, wanted.subscriber
    makes_account = account is not None and _is_new_account(there, account, wanted.account_says, now_ms, scopes)
    makes_subscriber = subscriber is not None and _is_new_subscriber(there, subscriber, wanted, passwords, scopes)
    for owner, said in wanted.limits:
        if makes_account if owner.account else makes_subscriber:
            new.limits += [(owner, limit) for limit in _checked_limits(owner, said, scopes)]
        elif list(there.limits.get(owner, ())) != list(said):
            raise Objection("conflict", f"{owner.column}.limits", f"{owner.column} {owner.id} exists with other limits")
        there.limits[owner] = said
    if account is not None and makes_account:
        there.accounts[account.id] = account
        new.accounts.append(account)
    if subscriber is not None and makes_subscriber:
        new.inherited += [(name, subscriber.id) for name in _names(subscriber) if name in there.owners]
        if any(name in there.owners for name in subscriber.identities):
            new.inherits.add(subscriber.id)
        there.owners |= dict.fromkeys(_names(subscriber), subscriber.id)
        there.subscribers[subscriber.id] = subscriber, stored
        new.subscribers.append((subscriber, stored))
        new.fees += [(subscriber.id, begun) for begun in wanted.fees]
    return JudgedLine(
        makes_account if account is not None else None, makes_subscriber if subscriber is not None else None
    )


def _is_new_account(
    there: KnownRows, wanted: AccountRow, says: Mapping[str, Any], now_ms: int, scopes: Collection[str]
) -> bool:
    known = there.accounts.get(wanted.id)
    if known is None:
        for bucket in wanted.buckets:
            if 0 < bucket.until_ms <= now_ms:
                raise Objection("invalid", "account.buckets", "valid_until: in the future, for a new account")
            if unknown := [tag for tag in bucket.scope if tag not in scopes]:
                detail = f"scope: expected some of {', '.join(sorted(scopes))}, found {unknown[0]!r}"
                raise Objection("invalid", "account.buckets", detail)
        _check_services(wanted, scopes)
        return True
    for field, said in says.items():
        at = ROW_FIELDS.get(field, field)
        if getattr(known, at) != getattr(wanted, at):
            with_what = said if isinstance(said, str | int) else f"these {field}"
            detail = (
                f"account {wanted.id} exists and was opened otherwise than with {with_what}: nothing of it is changed"
            )
            raise Objection("conflict", f"account.{field}", detail)
    return False


ROW_FIELDS: Final = {"suspended_for": "state", "grace_until": "grace_until_ms"}
"""Fields of a line that the row calls otherwise."""


def _check_services(wanted: AccountRow, scopes: Collection[str]) -> None:
    for field, service in (
        *(("account.thresholds", one.service) for one in wanted.thresholds),
        *(("account.services", one.service) for one in wanted.services),
    ):
        if service and service not in scopes:
            raise Objection("invalid", field, f"expected a service ({', '.join(sorted(scopes))}), found {service!r}")


def _checked_limits(
    owner: LimitOwner, said: Sequence[SpendingLimit], scopes: Collection[str]
) -> Sequence[SpendingLimit]:
    for service in (service for limit in said for service in limit.services):
        if service not in scopes:
            detail = f"services: expected some of {', '.join(sorted(scopes))}, found {service!r}"
            raise Objection("invalid", f"{owner.column}.limits", detail)
    return said


def _is_new_subscriber(
    there: KnownRows, wanted: Subscriber, line: WantedLine, passwords: StoredPasswords, scopes: Collection[str]
) -> bool:
    makes_its_account = line.account is not None and line.account.id == wanted.account
    if not makes_its_account and wanted.account not in there.accounts:
        raise Objection("unresolved", "subscriber.account", f"there is no account {wanted.account}")
    for service, payer in wanted.payers.items():
        if service not in scopes:
            raise Objection("invalid", "subscriber.payers", f"there is no service {service}")
        if payer not in there.accounts and not (makes_its_account and payer == wanted.account):
            raise Objection("unresolved", "subscriber.payers", f"there is no account {payer}")
    found = there.subscribers.get(wanted.id)
    if found is not None:
        known, password = found
        for field in line.subscriber_says:
            if _content(known, field) != _content(wanted, field):
                raise Objection("conflict", f"subscriber.{field}", f"subscriber {wanted.id} exists with other {field}")
        if line.password is not None and not _is_password(passwords, password, wanted.id, line.password):
            raise Objection("conflict", "subscriber.password", f"subscriber {wanted.id} exists with another password")
        if line.stored_password is not None and line.stored_password != password:
            detail = f"subscriber {wanted.id} exists with another password, or one that is sealed or hashed otherwise"
            raise Objection("conflict", "subscriber.stored_password", detail)
        return False
    for identity in wanted.identities:
        owner = there.owners.get(identity)
        if owner is not None:
            raise Objection("identity-taken", "subscriber.identities", f"{identity} belongs to {owner}")
    for assignment in wanted.tariffs:
        if assignment.tariff not in there.tariffs:
            raise Objection("unresolved", "subscriber.tariffs", f"there is no tariff {assignment.tariff}")
    return True


def _is_password(passwords: StoredPasswords, stored: str | None, subscriber: str, said: str) -> bool:
    if not (stored and said):
        return bool(stored) == bool(said)
    try:
        return passwords.matches(stored, subscriber, said)
    except CannotOpen as why:
        raise Objection("conflict", "subscriber.password", f"the one of subscriber {subscriber}: {why}") from None


def _content(subscriber: Subscriber, field: str) -> object:
    value = getattr(subscriber, field)
    return sorted(value) if field == "identities" else value


# --- writing ------------------------------------------------------------------------------------------------------


async def write(db: Connection, new: NewRows, number: int, now_ms: int, tables: str = "") -> None:
    """By COPY, in the caller's transaction, in which nobody else changes master data. New accounts need not be told of
    their members (projection.py): no profile is older than they are."""

    async def copy(table: str, columns: Sequence[str], records: Iterable[Sequence[Any]]) -> None:
        schema = tables.removesuffix(".") or None
        await db.copy_records_to_table(table, records=records, columns=columns, schema_name=schema)

    await copy("accounts", ACCOUNT_COLUMNS, (_account_record(row, number) for row in new.accounts))
    if new.subscribers:
        await _write_subscribers(db, copy, new, number, now_ms, tables)
    if new.limits:
        await copy("spending_limits", LIMIT_COLUMNS, (limit_record(owner, limit) for owner, limit in new.limits))


async def _write_subscribers(db: Connection, copy: Copy, new: NewRows, number: int, now_ms: int, tables: str) -> None:
    inherited = {identity for identity, _ in new.inherited}
    await copy(
        "subscribers",
        ("id", "account", "password", "barred", "moved_ms", "change", "attributes", "tags"),
        (
            (
                one.id,
                one.account,
                stored,
                one.barred,
                now_ms if one.id in new.inherits else 0,
                number,
                msgspec.json.encode(one.attributes).decode(),
                written(one.tags),
            )
            for one, stored in new.subscribers
        ),
    )
    await copy(
        "identities",
        ("identity", "subscriber", "change"),
        (
            (identity, one.id, number)
            for one, _ in new.subscribers
            for identity in _names(one)
            if identity not in inherited
        ),
    )
    await copy(
        "assignments",
        ASSIGNMENT_COLUMNS,
        (
            assignment_record(one.id, place, given, now_ms)
            for one, _ in new.subscribers
            for place, given in enumerate(one.tariffs)
        ),
    )
    await copy(
        "payers",
        ("subscriber", "service", "account"),
        ((one.id, service, account) for one, _ in new.subscribers for service, account in one.payers.items()),
    )
    if not tables:
        pairs = {
            (account, given.tariff) for one, _ in new.subscribers for account in one.accounts for given in one.tariffs
        }
        await members_changed(db, pairs, number)
        await follow_subscribers(db, [one.id for one, _ in new.subscribers], now_ms)
        for subscriber, begun in new.fees:
            await go_on(db, subscriber, begun)
    if new.inherited:
        await db.executemany(
            f"UPDATE {tables}identities SET subscriber = $2, change = $3 WHERE identity = $1",
            [(identity, subscriber, number) for identity, subscriber in new.inherited],
        )


ACCOUNT_COLUMNS: Final = (
    *("id", "currency", "time_zone", "credit_limit", "suspend_below", "resume_at"),
    *("change", "members_change", "opening_balance", "opening_buckets", "opened_by"),
    *("opening_thresholds", "opening_services", "opening_created", "customer", "tags", "billing_day"),
    *("opening_state", "opening_grace_until_ms", "opening_filled", "opening_counters", "opening_fees"),
)


def _account_record(row: AccountRow, number: int) -> tuple[Any, ...]:
    thresholds = or_null(row.suspend_below), or_null(row.resume_at)
    buckets = msgspec.json.encode(row.buckets).decode()
    settings = (row.id, row.currency, row.time_zone, row.credit_limit, *thresholds)
    watched = msgspec.json.encode(row.thresholds).decode(), msgspec.json.encode(row.services).decode()
    described = row.created, row.customer, [*row.tags], row.billing_day
    state = row.state, row.grace_until_ms, row.filled
    goes_on = msgspec.json.encode(row.counters).decode(), msgspec.json.encode(row.fees).decode()
    return (*settings, number, 0, row.balance, buckets, row.opened_by, *watched, *described, *state, *goes_on)


SHADOWED: Final = ("accounts", "subscribers", "identities", "assignments", "payers", "spending_limits")
"""Tables that `write` fills."""
