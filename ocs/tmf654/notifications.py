"""Our events as the notifications of TMF654 v4: which there are, and what each carries (docs/tmf654.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from balances.ledger.event_data import KIND_WORDS
from balances.ledger.events import EventRow
from balances.ledger.in_words import time_of
from balances.ledger.transfers import TransferState
from ocs.tmf654.actions import adjustment_action, top_up_action, transfer_action
from ocs.tmf654.resources import TmfAction
from tariffs.units import MICRO, Kind

MEDIA_TYPE: Final = "application/json"
KINDS: Final = {word: kind for kind, word in KIND_WORDS.items()}

Told = Mapping[str, Any]
"""`data` of an event of ours."""


class TmfEvent(Struct, frozen=True, rename="camel", kw_only=True):
    """What is posted to `CALLBACK/listener/<event type, its first letter small>`."""

    event_id: str
    """The same at every attempt."""
    event_time: str
    event_type: str
    domain: str = "prepayBalanceManagement"
    title: str
    description: str
    time_ocurred: str
    """Spelled as TM Forum spells it."""
    event: dict[str, TmfAction]
    """The resource, by its kind."""


class Notification(NamedTuple):
    """How events of a type of ours are told."""

    name: str
    member: str
    title: str
    resource: Callable[[EventRow, Told], TmfAction]


def _entry(row: EventRow, told: Told, change: Told) -> dict[str, Any]:
    """As a row of the ledger."""
    return {
        "account": told["account"],
        "seq": change.get("entry", 0),  # of one that an older version has written
        "bucket": change["bucket"],
        "kind": KINDS[change["kind"]],
        "amount": _amount(change["amount"], KINDS[change["kind"]]),
        "currency": told["currency"],
        "at_ms": row.at_ms,
        **{name: told[name] for name in ("actor", "reason", "reference")},
    }


def _amount(text: str, kind: int) -> int:
    """Micro-units, or whole units: what the event wrote, exactly."""
    if kind != Kind.MONEY:
        return int(text)
    whole, _, fraction = text.removeprefix("-").partition(".")
    amount = int(whole) * MICRO + int(fraction.ljust(6, "0") or 0)
    return -amount if text.startswith("-") else amount


def _top_up(row: EventRow, told: Told) -> TmfAction:
    """A top-up is one entry; it is told of the first, where one should ever have several."""
    return top_up_action(_entry(row, told, told["buckets"][0]))


def _adjustment(row: EventRow, told: Told) -> TmfAction:
    return adjustment_action(_entry(row, told, told))


def _received(row: EventRow, told: Told) -> TmfAction:
    return _transfer(row, told, told["sender"], told["account"], TransferState.RECEIVED)


def _returned(row: EventRow, told: Told) -> TmfAction:
    return _transfer(row, told, told["account"], told["receiver"], TransferState.RETURNED)


def _transfer(row: EventRow, told: Told, source: str, target: str, state: TransferState) -> TmfAction:
    """A merge moves units too, and a debt, which is below zero."""
    kind = KINDS[told.get("kind", "money")]  # of one that an older version has written
    return transfer_action(
        {
            "id": told["transfer"],
            "source": source,
            "target": target,
            "amount": _amount(told["amount"], kind),
            "kind": kind,
            "currency": told["currency"],
            "state": state,
            "sent_ms": None,
            "ended_ms": row.at_ms,
            **{name: told[name] for name in ("actor", "reason", "reference")},
        }
    )


NOTIFICATIONS: Final[Mapping[str, Notification]] = {
    "top_up.received": Notification("TopupBalanceCreateEvent", "topupBalance", "A balance was topped up", _top_up),
    "adjustment.posted": Notification(
        "AdjustBalanceCreateEvent", "adjustBalance", "A balance was adjusted", _adjustment
    ),
    "transfer.received": Notification(
        "TransferBalanceCreateEvent", "transferBalance", "A transfer has arrived", _received
    ),
    "transfer.returned": Notification(
        "TransferBalanceFailureEvent", "transferBalance", "A transfer came back", _returned
    ),
}
"""By our type."""
TYPE_OF: Final = {one.name: type_ for type_, one in NOTIFICATIONS.items()}

_encode: Final = msgspec.json.Encoder(decimal_format="number").encode


def notification_of(row: EventRow) -> bytes:
    """The body for an event of one of the types above."""
    how = NOTIFICATIONS[row.type]
    when = time_of(row.at_ms)
    resource = how.resource(row, msgspec.json.decode(row.data))
    return _encode(
        TmfEvent(
            event_id=row.id,
            event_time=when,
            event_type=how.name,
            title=how.title,
            description=f"{how.member} {resource.id}",
            time_ocurred=when,
            event={how.member: resource},
        )
    )


def listener_of(type_: str) -> str:
    """Where it is posted, below the callback."""
    name = NOTIFICATIONS[type_].name
    return f"/listener/{name[0].lower()}{name[1:]}"
