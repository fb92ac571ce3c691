"""Whether tariffs fit what is around them, which the linter cannot know: the services of the configuration, and the
other documents that are given with them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches

from tariffs.lint.case import Finding
from tariffs.match import Condition
from tariffs.tariff import Tariff


def twins(ids: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """(file, finding) where a file has the id of one before it.

    ids:  (file, id)
    """
    first: dict[str, str] = {}
    for file, name in ids:
        if first.setdefault(name, file) != file:
            yield file, f"{first[name]} has the id {name!r} too: loaded together, they are refused"


def misfits(tariff: Tariff, services: Collection[str]) -> Iterator[Finding]:
    """Conditions on services that nobody configured."""
    parts = tariff.parts
    places: list[tuple[str, Iterable[Condition]]] = [
        *((f'row "{row.name}"', row.conditions) for row in tariff.rows),
        *((f'counter "{name}"', tally.conditions) for name, tally in parts.tallies.items()),
        *(
            (f'{"surcharge" if sign > 0 else "discount"} "{one.what.name}"', one.conditions)
            for sign, one in parts.changes
        ),
        *((f'tax "{one.what.name}"', one.conditions) for one in parts.taxes),
    ]
    for where, conditions in places:
        for condition in conditions:
            for wanted in condition.wanted if condition.fact == "service" else ():
                if not any(Condition("service", [wanted]).holds({"service": known}) for known in services):
                    yield Finding("warning", "service-unknown", where, _unknown(wanted, services))


def _unknown(wanted: str, services: Collection[str]) -> str:
    near = get_close_matches(wanted, services, 1)
    hint = f'did you mean "{near[0]}"?' if near else f"a new one is declared by [charging.services.{wanted}]"
    return f'no service "{wanted}" is configured ({", ".join(services)}): {hint}'
