"""An event as the world gets it: CloudEvents 1.0 in JSON (docs/events.md)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from balances.ledger.events import EventRow
from balances.ledger.in_words import time_of
from ocs.events.types import TYPES, schema_uri

MEDIA_TYPE: Final = "application/cloudevents+json"
UNKNOWN_VERSION: Final = 1


class Event(Struct, frozen=True, kw_only=True):
    """`id` is the same for ever, however often and on whatever way the event is delivered; with `source` it is unique
    in the world."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: Literal["application/json"] = "application/json"
    dataschema: str
    """Name and version of the schema of `data`."""
    account: str | UnsetType = UNSET
    """Extension: whose it is; events of one account come in order."""
    service: str | UnsetType = UNSET
    """Extension: the service it is about."""
    data: Raw

    def json(self) -> bytes:
        """As it is sent."""
        return _encode(self)


_encode: Final = msgspec.json.Encoder().encode


def event_of(row: EventRow, source: str) -> Event:
    """source: of this installation, `source_of`"""
    kind = TYPES.get(row.type)
    return Event(
        id=row.id,
        source=source,
        type=row.type,
        subject=row.subject,
        time=time_of(row.at_ms),
        dataschema=schema_uri(row.type, kind.version if kind is not None else UNKNOWN_VERSION),
        account=row.account or UNSET,
        service=row.service or UNSET,
        data=Raw(row.data.encode()),
    )


def source_of(installation: object) -> str:
    """What events of an installation have as `source`: its id (`store.installation` in PostgreSQL)."""
    return f"urn:uuid:{installation}"
