"""Charging tags: keys that the configuration declares, with a free text each, on every entry of a posting (charging.md
section 17)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ocs.patterns import looks

TAGS_MAX: Final = 16
"""Keys."""
_KEY: Final = "[a-z][a-z0-9_-]{0,31}"
_TEXT: Final = r"[^\x00-\x1f\x7f]{1,64}"

TagKey = Annotated[
    str,
    looks(_KEY, "a key of 1 to 32 small letters, digits, - and _, which begins with a letter", examples=["channel"]),
]
TagText = Annotated[str, looks(_TEXT, "1 to 64 characters on one line", examples=["web"])]
ChargingTags = Annotated[
    dict[TagKey, TagText],
    Meta(max_length=TAGS_MAX, description="Keys that `ledger.tags` of the configuration declares, each with a text"),
]
TagWanted = Annotated[
    str, looks(f"{_KEY}:{_TEXT}", "KEY:TEXT, such as channel:web", description="`KEY:TEXT`: entries with this tag")
]

_encode: Final = msgspec.json.Encoder(order="sorted").encode
_decode: Final = msgspec.json.Decoder(dict[str, str]).decode


def written(tags: Mapping[str, str]) -> str:
    """As a record has them: JSON, the same for the same tags."""
    return _encode(tags).decode() if tags else ""


def read(stored: str | None) -> dict[str, str]:
    """The tags of an entry, as PostgreSQL has them."""
    return _decode(stored) if stored else {}


def undeclared(keys: Collection[str], declared: Collection[str]) -> str:
    """Why these keys are refused; "" where they are not."""
    wrong = sorted({*keys} - {*declared})
    return f"expected {', '.join(declared) or 'none'} (ledger.tags), found {', '.join(wrong)}" if wrong else ""


def wanted(said: str | None) -> str | None:
    """A TagWanted as a part of what is written."""
    key, _, text = (said or "").partition(":")
    return written({key: text}) if said else None
