"""Import from CSV: the header says what each column is; a row is a subscriber, its account, or both.

A row stands for the JSON object that NDJSON would have in its place, and is read as that. An empty cell says nothing.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from ocs.backoffice.errors import Invalid
from ocs.charging.identity import KINDS
from ocs.master.bulk_rows import Objection

Read = Callable[[str], Any]


class CsvColumn(NamedTuple):
    about: str
    put: Callable[[dict[str, Any], str], None]
    """Puts a cell that is not empty into the object."""


def _into(part: str, member: str, read: Read = str) -> Callable[[dict[str, Any], str], None]:
    def put(line: dict[str, Any], cell: str) -> None:
        line.setdefault(part, {})[member] = read(cell)

    return put


def _identity(prefix: str) -> Callable[[dict[str, Any], str], None]:
    def put(line: dict[str, Any], cell: str) -> None:
        line.setdefault("subscriber", {}).setdefault("identities", []).extend(prefix + word for word in cell.split())

    return put


def _account(line: dict[str, Any], cell: str) -> None:
    line["account_id"] = cell


def _buckets(line: dict[str, Any], cell: str) -> None:
    line["all_buckets"] = _json("account.buckets")(cell)


def _tariffs(cell: str) -> list[dict[str, str]]:
    return [{"tariff": word} for word in cell.split()]


def _pairs(cell: str) -> dict[str, str]:
    pairs = [word.partition("=") for word in cell.split()]
    if not all(equals for _, equals, _ in pairs):
        raise Objection("invalid", "subscriber.payers", f"expected service=account, found {cell[:80]!r}")
    return {service: account for service, _, account in pairs}


def _flag(field: str) -> Read:
    def read(cell: str) -> bool:
        if cell not in ("true", "false"):
            raise Objection("invalid", field, f"expected true or false, found {cell[:40]!r}")
        return cell == "true"

    return read


def _json(field: str) -> Read:
    """What no cell can say otherwise is JSON, as NDJSON has it."""

    def read(cell: str) -> Any:
        try:
            return msgspec.json.decode(cell)
        except msgspec.DecodeError as why:
            raise Objection("invalid", field, f"expected JSON: {why}") from None

    return read


def _whole(cell: str) -> int | str:
    """A whole number; anything else is refused with its field."""
    return int(cell) if cell.isascii() and cell.isdecimal() and len(cell) < 19 else cell


COLUMNS: Final[dict[str, CsvColumn]] = {
    "account": CsvColumn("id of the account that pays; needed in every row", _account),
    "currency": CsvColumn("ISO 4217; with it the row opens the account", _into("account", "currency")),
    "time_zone": CsvColumn("such as Europe/Berlin; else UTC", _into("account", "time_zone")),
    "billing_day": CsvColumn("1 to 31: when its billing month begins; else 1", _into("account", "billing_day", _whole)),
    "credit_limit": CsvColumn("how far below zero the main balance may go; else 0", _into("account", "credit_limit")),
    "suspend_below": CsvColumn(
        "suspended for credit below this balance; else never", _into("account", "suspend_below")
    ),
    "resume_at": CsvColumn("resumed from this balance on; else as suspend_below", _into("account", "resume_at")),
    "balance": CsvColumn("what its main balance begins with; below zero a debt; else 0", _into("account", "balance")),
    "filled": CsvColumn("what percentages of the main balance are of; else the balance", _into("account", "filled")),
    "state": CsvColumn(
        "created, active, suspended, grace or closed; else as its balance says", _into("account", "state")
    ),
    "suspended_for": CsvColumn(
        "with state suspended: credit, barred, fraud, operator, overdue, fee, several apart by blanks",
        _into("account", "suspended_for", str.split),
    ),
    "grace_until": CsvColumn("with state grace: RFC 3339 with its offset", _into("account", "grace_until")),
    "created": CsvColumn(
        "true: opened before anybody uses it, active from its first use; else false",
        _into("account", "created", _flag("account.created")),
    ),
    "customer": CsvColumn("your reference of the customer whose the account is", _into("account", "customer")),
    "tags": CsvColumn("what accounts are sorted by, apart by blanks", _into("account", "tags", str.split)),
    "buckets": CsvColumn("JSON: buckets, all of them, instead of columns", _buckets),
    "thresholds": CsvColumn(
        "JSON: notification thresholds", _into("account", "thresholds", _json("account.thresholds"))
    ),
    "services": CsvColumn(
        "JSON: services with a line of suspension", _into("account", "services", _json("account.services"))
    ),
    "limits": CsvColumn(
        "JSON: limits of all subscribers together", _into("account", "limits", _json("account.limits"))
    ),
    "counters": CsvColumn(
        "JSON: what was used of limits and tiers", _into("account", "counters", _json("account.counters"))
    ),
    "account.fees": CsvColumn(
        "JSON: what was paid of periods of recurring fees that run", _into("account", "fees", _json("account.fees"))
    ),
    "subscriber": CsvColumn("id of the subscriber", _into("subscriber", "id")),
    "identities": CsvColumn("kind:identity, several apart by blanks", _identity("")),
    **{
        kind: CsvColumn(f"an identity of the kind {kind}, several apart by blanks", _identity(f"{kind}:"))
        for kind in KINDS
    },
    "tariffs": CsvColumn("ids of tariffs, in order, apart by blanks", _into("subscriber", "tariffs", _tariffs)),
    "assignments": CsvColumn(
        "JSON: tariffs with their times, instead of tariffs",
        _into("subscriber", "tariffs", _json("subscriber.tariffs")),
    ),
    "payers": CsvColumn(
        "service=account, several apart by blanks: who pays for these services", _into("subscriber", "payers", _pairs)
    ),
    "barred": CsvColumn("true or false; else false", _into("subscriber", "barred", _flag("subscriber.barred"))),
    "password": CsvColumn(
        "for RADIUS; sealed by `sealing_keys`, or hashed where there are none, which takes 40 ms a line",
        _into("subscriber", "password"),
    ),
    "stored_password": CsvColumn(
        "instead: as a server kept it, sealed or hashed", _into("subscriber", "stored_password")
    ),
    "subscriber.limits": CsvColumn(
        "JSON: limits of the subscriber", _into("subscriber", "limits", _json("subscriber.limits"))
    ),
    "fees": CsvColumn("JSON: how far recurring fees are", _into("subscriber", "fees", _json("subscriber.fees"))),
    "attributes": CsvColumn(
        "JSON: all attributes, instead of columns", _into("subscriber", "attributes", _json("subscriber.attributes"))
    ),
    "subscriber.tags": CsvColumn(
        "JSON: charging tags of all it is charged", _into("subscriber", "tags", _json("subscriber.tags"))
    ),
}
BUCKET: Final[dict[str, tuple[str, Read]]] = {
    "amount": ("money, or whole octets, seconds or units", str),
    "kind": ("money, octets, seconds or units; else money", str),
    "name": ("for people", str),
    "scope": ("services it may pay, apart by blanks; else all", str.split),
    "priority": ("lower pays first; else 50, the main balance has 100", _whole),
    "valid_from": ("RFC 3339 with its offset", str),
    "valid_until": ("likewise", str),
    "valid_for_s": ("seconds from its first use, instead of valid_until", _whole),
    "bonus": ("true: given, not paid for, so never transferred or paid out; else false", _flag("account.buckets")),
    "member": ("the only subscriber it pays for; else all of the account", str),
    "filled": ("what percentages are of; else the amount", str),
    "blocker": ("true: what it may pay is paid by nothing behind it; else false", _flag("account.buckets")),
    "money": ("of octets, seconds or units: money in the same bucket", str),
    "money_filled": ("what percentages of that money are of; else that money", str),
    "price": ("of octets, seconds or units: what `per` of them cost besides, from money", str),
    "per": ("units that the price is for; else 1", _whole),
    "hours": ("when it pays use, on the account's clock: mon-fri 22:00-06:00, sat; else at any time", str),
}
_BUCKET: Final = re.compile(r"bucket([2-9]?)\.(\w+)")
ATTRIBUTE: Final = "attribute."


class CsvHeader:
    """`members` makes the object of a row. Raises Invalid where a column is not known, or a needed one lacks."""

    def __init__(self, text: str) -> None:
        names = [name.strip() for name in _cells(text.removeprefix("\ufeff"))]
        if len(names) == 1 and re.search(r"[;\t]", names[0]):
            raise Invalid("the header", "cells are separated by commas")
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise Invalid("the header", f"{', '.join(sorted(twice))} is there more than once")
        if "account" not in names:
            raise Invalid("the header", f"expected a column `account`, found {', '.join(names)[:200] or 'nothing'}")
        self._puts = [_put_of(name) for name in names]

    def members(self, text: str) -> dict[str, Any]:
        """Raises an Objection."""
        try:
            cells = _cells(text)
        except Invalid as why:
            raise Objection("malformed", "", why.detail) from None
        if len(cells) != len(self._puts):
            detail = f"expected {len(self._puts)} cells as the header has, found {len(cells)}"
            raise Objection("malformed", "", detail)
        line: dict[str, Any] = {}
        for put, cell in zip(self._puts, cells, strict=True):
            if cell := cell.strip():
                put(line, cell)
        return _finished(line)


def _put_of(name: str) -> Callable[[dict[str, Any], str], None]:
    if name in COLUMNS:
        return COLUMNS[name].put
    found = _BUCKET.fullmatch(name)
    if found and found[2] in BUCKET:
        number, field, read = found[1] or "1", found[2], BUCKET[found[2]][1]

        def put(line: dict[str, Any], cell: str) -> None:
            line.setdefault("buckets", {}).setdefault(number, {})[field] = read(cell)

        return put
    if name.startswith(ATTRIBUTE) and name != ATTRIBUTE:
        attribute = name.removeprefix(ATTRIBUTE)

        def put_attribute(line: dict[str, Any], cell: str) -> None:
            line.setdefault("subscriber", {}).setdefault("attributes", {})[attribute] = cell

        return put_attribute
    known = ", ".join([*COLUMNS, "bucket.amount ...", "attribute.NAME"])
    raise Invalid("the header", f"no column is called {name[:80]!r}; there are {known}")


def _finished(line: dict[str, Any]) -> dict[str, Any]:
    """The account's id and its buckets where they belong."""
    account, buckets = line.pop("account_id", None), line.pop("buckets", None)
    of_all = line.pop("all_buckets", None)
    if account is None:
        raise Objection("invalid", "account", "expected the id of an account")
    if buckets is not None:
        line.setdefault("account", {})["buckets"] = [buckets[number] for number in sorted(buckets)]
    if of_all is not None:
        if buckets is not None:
            raise Objection("invalid", "account.buckets", "in columns of their own, or all of them as JSON")
        line.setdefault("account", {})["buckets"] = of_all
    if "account" in line:
        line["account"]["id"] = account
    if "subscriber" in line:
        line["subscriber"]["account"] = account
    if not line:
        raise Objection("invalid", "currency", "expected the currency of the account, or a subscriber of it")
    return line


def _cells(text: str) -> list[str]:
    try:
        (cells,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as why:
        raise Invalid("", f"not a line of CSV: {why}") from None
    return cells
