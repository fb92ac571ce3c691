"""Messages of the processes that rate again: the job for one part, progress and results; packed, over pipes."""

from __future__ import annotations

from typing import Final

import msgspec

from balances.ledger.history import UsageWindow
from ocs.rerating.tally import RatingTally
from tariffs.document import Format


class Written(msgspec.Struct, frozen=True):
    """A tariff from a file."""

    document: bytes
    form: Format
    source: str
    files: dict[str, bytes]


class Job(msgspec.Struct, frozen=True):
    dsn: str
    window: UsageWindow
    written: Written | None = None
    """The draft ..."""
    stored: tuple[str, int] | None = None
    """... or id and version of what is published; neither: every tariff in the versions that are published now."""
    instead_of: tuple[str, ...] = ()
    """Other tariffs whose pieces the draft prices too."""
    default_groups: dict[str, int] = {}
    """Rating group of a line that names none, by service."""
    top: int = 20
    """Lists are so long."""
    correct: bool = False
    """List the corrections."""


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    records: int
    """Read since the last one."""


class Done(msgspec.Struct, frozen=True, tag="done"):
    tally: RatingTally


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    why: str


Said = Progress | Done | Failed

encode: Final = msgspec.msgpack.Encoder().encode
decode_job: Final = msgspec.msgpack.Decoder(Job).decode
decode_said: Final = msgspec.msgpack.Decoder(Said).decode
