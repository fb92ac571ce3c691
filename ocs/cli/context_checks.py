"""Whether tariffs fit what is around them, which the linter cannot know: the services of the configuration, and the
other documents that are given with them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches

from tariffs.lint.case import LintFinding
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


def misfits(tariff: Tariff, services: Mapping[str, Collection[str]]) -> Iterator[LintFinding]:
    """Conditions on services that nobody configured, and grades that none of its services has.

    services:  those that are configured, with their grades
    """
    yield from _ungraded(tariff, services)
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
                    yield LintFinding("warning", "service-unknown", where, _unknown(wanted, services))
    for threshold in parts.thresholds:
        if threshold.service and threshold.service not in services:
            text = _unknown(threshold.service, services)
            yield LintFinding("warning", "service-unknown", f'threshold "{threshold.name}"', text)


def _ungraded(tariff: Tariff, services: Mapping[str, Collection[str]]) -> Iterator[LintFinding]:
    for row in tariff.rows:
        grade = next((name for one in row.elements if (name := one.service_grade())), "")
        asked = [one for one in row.conditions if one.fact == "service"]
        of = [name for name in services if all(one.holds({"service": name}) for one in asked)]
        if grade and not any(grade in services[name] for name in of):
            where = of[0] if len(of) == 1 else "<name>"
            text = f'no service of its lines has a grade "{grade}", so the network is told nothing'
            text += f": declare [charging.services.{where}.grades.{grade}]"
            yield LintFinding("warning", "grade-unknown", f'row "{row.name}"', text)


def _unknown(wanted: str, services: Collection[str]) -> str:
    near = get_close_matches(wanted, services, 1)
    hint = f'did you mean "{near[0]}"?' if near else f"a new one is declared by [charging.services.{wanted}]"
    return f'no service "{wanted}" is configured ({", ".join(services)}): {hint}'
