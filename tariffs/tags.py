"""Charging tags that a price carries to the entries that it leads to: a text under each key (charging.md section 17).
Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote, unquote

TAGS_MAX: Final = 16
"""Keys of one price."""
TAG: Final = "tag."
"""What the name of one begins with among the terms of a price."""
_KEY: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f]{1,64}")


def check_tags(tags: Mapping[str, str]) -> None:
    """ValueError that says what was expected."""
    for key, text in tags.items():
        if not _KEY.fullmatch(key):
            raise ValueError(f"expected keys of 1 to 32 small letters, digits, - and _, not {key!r}")
        if not _TEXT.fullmatch(text) or not text.isprintable():
            raise ValueError(f"expected 1 to 64 characters on one line under {key}, not {text!r}")
    if len(tags) > TAGS_MAX:
        raise ValueError(f"expected at most {TAGS_MAX} keys, not {len(tags)}")


def as_terms(tags: Mapping[str, str]) -> Iterator[str]:
    """As parts of the terms of a price, by key; a text without anything that terms have a meaning for."""
    for key in sorted(tags):
        yield f"{TAG}{key}={quote(tags[key], safe='')}"


def with_tags(terms: str, tags: Mapping[str, str]) -> str:
    """The terms of a price that say these too, in the place of those under the same keys."""
    parts = [part for part in terms.split(";") if part]
    said = dict(part.removeprefix(TAG).split("=", 1) for part in parts if part.startswith(TAG))
    known = {key: unquote(text) for key, text in said.items()}
    return ";".join([*(part for part in parts if not part.startswith(TAG)), *as_terms({**known, **tags})])


def without_tags(terms: str) -> str:
    """The terms of a price that are of money alone."""
    return ";".join(part for part in terms.split(";") if not part.startswith(TAG))
