"""Which operation a path means, in one look-up: starlette tries one route after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, NamedTuple, TypeVar

Handler = TypeVar("Handler")

PREFIX: Final = 3
"""So many segments, of which the first is empty, choose the templates that are compared."""


class FoundPath(NamedTuple, Generic[Handler]):
    handler: Handler
    values: dict[str, str]
    """By the names in the template."""


class _Template(NamedTuple, Generic[Handler]):
    segments: tuple[str, ...]
    """"" for a value."""
    names: tuple[tuple[int, str], ...]
    handler: Handler


class PathIndex(Generic[Handler]):
    """
    Of templates as starlette writes them, those of plain values; where one that takes several segments
    (`{id:path}`) begins alike, all of these are left to starlette, which knows who comes first.
    """

    def __init__(self, templates: Iterable[tuple[str, str, Handler]]) -> None:
        """Each: method, template, who handles it; the first that fits counts."""
        given = [(method, tuple(template.split("/")), handler) for method, template, handler in templates]
        several = {one[1][:PREFIX] for one in given if any(":" in segment for segment in one[1])}
        self._by_prefix: dict[tuple[object, ...], list[_Template[Handler]]] = {}
        for method, segments, handler in given:
            prefix = segments[:PREFIX]
            if prefix in several or any("{" in segment for segment in prefix):
                continue
            names = tuple((at, one[1:-1]) for at, one in enumerate(segments) if one.startswith("{"))
            plain = tuple("" if one.startswith("{") else one for one in segments)
            key = (method, len(segments), *prefix)
            self._by_prefix.setdefault(key, []).append(_Template(plain, names, handler))

    def find(self, method: str, path: str) -> FoundPath[Handler] | None:
        """None: starlette has to look."""
        segments = path.split("/")
        for one in self._by_prefix.get((method, len(segments), *segments[:PREFIX]), ()):
            values = {name: segments[at] for at, name in one.names}
            if all(values.values()) and all(
                own in ("", said) for own, said in zip(one.segments[PREFIX:], segments[PREFIX:], strict=True)
            ):
                return FoundPath(one.handler, values)
        return None
