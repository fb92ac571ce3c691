"""Formats of texts: a pattern for programs, and the words shown to people in its place."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Meta

_WORDS: Final[dict[str, str]] = {
    f"Expected `{text}`, got `{number}`": "Expected a text in quotes, got a number"
    for text in ("str", "str | null")
    for number in ("int", "float")
}  # money as a JSON number, mostly
"""What msgspec says was expected -> what we say."""
_WORDS["`str` of length >= 1"] = "a text that is not empty"


def looks(pattern: str, words: str, **more: Any) -> Meta:
    """For Annotated[str, ...]: all of it matches `pattern`; refused as "expected <words>"."""
    pattern = pattern.replace(r"\d", "[0-9]")  # "\d" takes the digits of every script
    whole = rf"^{pattern}$(?!\n)"  # "$" alone also stands before a last line break
    _WORDS[f"`str` matching regex {whole!r}"] = words
    return Meta(pattern=whole, **more)


def in_words(refusal: str) -> str:
    """A message of msgspec in words, without the pattern."""
    for shown, words in _WORDS.items():
        refusal = refusal.replace(shown, words)
    return refusal
