"""Charging tags: keys that the configuration declares, with a free text each, on every entry of a posting (charging.md
section 17)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ocs.patterns import looks
from tariffs.tags import as_terms

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
USE_OCTETS_MAX: Final = 256
"""Of all tags of one use, as they are written: they are remembered as one fact of its session."""
UseTags = Annotated[
    dict[TagKey, TagText],
    Meta(
        max_length=TAGS_MAX,
        description="Charging tags of this use, under keys that `ledger.tags` of the configuration declares, of 256"
        " octets together; before those of the subscriber and of the tariff under the same keys",
        examples=[{"channel": "app"}],
    ),
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


def of_use(tags: Mapping[str, str], declared: Collection[str]) -> str:
    """Tags of one use, as rating takes them; ValueError: why they cannot be."""
    text = written(tags)
    if why := undeclared(tags, declared):
        raise ValueError(why)
    if (octets := len(text.encode())) > USE_OCTETS_MAX:
        raise ValueError(f"at most {USE_OCTETS_MAX} octets together, written as JSON; found {octets}")
    return text


def term_wanted(said: str | None) -> str:
    """A TagWanted as the terms of a price have it; "" for any."""
    key, _, text = (said or "").partition(":")
    return ";".join(as_terms({key: text})) if said else ""


def wanted(said: str | None) -> str | None:
    """A TagWanted as a part of what is written."""
    key, _, text = (said or "").partition(":")
    return written({key: text}) if said else None
