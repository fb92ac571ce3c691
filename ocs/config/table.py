"""What the tables of the configuration have in common: their type, and the ranges of their numbers."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from ocs.config.values import Listen
from ocs.patterns import looks

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Milliseconds = Annotated[int, Meta(ge=1, le=86_400_000)]
Seconds = Annotated[int, Meta(ge=1, le=31 * 86_400)]
Octets = Annotated[int, Meta(ge=1_024, le=16_777_215)]
Name = Annotated[str, looks("[!-~]+", "a name without blanks, in ASCII", min_length=1, max_length=255)]
OFF: Final = Listen()
"""A listener that there is not."""


class ConfigTable(Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file."""
