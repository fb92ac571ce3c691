"""The report as one HTML file: no script, no request to anywhere, dark on white so that it prints. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape
from typing import Any, Final

from ocs.rerating.plots import Bar, bars
from tariffs.units import MICRO

STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; color: #111; background: #fff; margin: 2em auto; max-width: 62em;
       padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; } h3 { font-size: 1em; margin-bottom: .3em; }
table { border-collapse: collapse; margin: .5em 0 1em; }
th, td { padding: .2em .8em .2em 0; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; display: block; margin: .5em 0 1em; }
svg text { font: 12px system-ui, sans-serif; fill: #111; } svg line { stroke: #ddd; } svg line.zero { stroke: #111; }
ul { padding-left: 1.2em; }
@media print { body { margin: 0; max-width: none; } h2, h3, svg, tr { break-inside: avoid; }
               h2 { break-after: avoid; } }
"""


def page(found: dict[str, Any]) -> str:
    """found: as report.report makes it"""
    title = f"What if {found['tariff']}: {found['from'][:10]} to {found['to'][:10]}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{found['records']:,} usage records from {found['from']} until before {found['to']}{_only(found)};"
        f" {found['unused']:,} of them are grants without use.</p>",
    ]
    for currency, of in found["currencies"].items():
        parts += _money(currency, of)
    parts += _refused(found["refused"])
    if found["reasons"]:
        parts += ["<h2>Not sold, or not said</h2>", _table(("pieces", "why"), _counts(found["reasons"]), (0,))]
    parts.append("<h2>What to bear in mind</h2><ul>")
    parts += [f"<li>{escape(one)}</li>" for one in found["limits"]]
    parts.append("</ul>")
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _only(found: dict[str, Any]) -> str:
    named = [f"{name} {escape(one)}" for name, one in found["only"].items()]
    if found["instead_of"]:
        named.append(f"also in the place of {escape(', '.join(found['instead_of']))}")
    return f"; {', '.join(named)}" if named else ""


def _counts(counts: dict[str, int]) -> list[tuple[str, str]]:
    return [(f"{count:,}", why) for why, count in counts.items()]


def _table(columns: Sequence[str], lines: Iterable[Sequence[object]], right: Sequence[int] = ()) -> str:
    def cells(values: Sequence[object], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=' + chr(34) + 'n' + chr(34) if place in right else ''}>"
            f"{escape('' if value is None else str(value))}</{tag}>"
            for place, value in enumerate(values)
        )

    rows = "".join(f"<tr>{cells(line, 'td')}</tr>" for line in lines)
    return f"<table><thead><tr>{cells(columns, 'th')}</tr></thead><tbody>{rows}</tbody></table>"


SUMS: Final = ("before", "after", "change", "percent")


def _sums(of: dict[str, Any]) -> tuple[object, ...]:
    return f"{of['pieces']:,}", *(of[name] for name in SUMS), f"{of['not_sold']:,}"


def _money(currency: str, of: dict[str, Any]) -> list[str]:
    columns = ("", "pieces", "before", "after", "change", "%", "not sold")
    lines = [(name, *_sums(sums)) for name, sums in of["services"].items()]
    people = of["subscribers"]
    parts = [
        f"<h2>Revenue in {currency}</h2>",
        _table(columns, [*lines, ("all", *_sums(of["revenue"]))], range(1, 7)),
    ]
    if of["revenue"]["uncovered"] != "0.00":
        parts.append(
            f"<p>Of what it would have been, accounts could not have paid {of['revenue']['uncovered']} {currency}.</p>"
        )
    legend = ("before", "after")
    parts.append("<h3>By service</h3>")
    parts.append(bars(f"revenue by service, {currency}", legend, _bars(of["services"]), MICRO))
    parts.append("<h3>By day</h3>")
    parts.append(bars(f"revenue by day, {currency}", legend, _bars(of["days"]), MICRO))
    parts.append("<h3>Subscribers</h3>")
    parts.append(
        f"<p>{people['count']:,}, of whom {people['dearer']:,} would have paid more, {people['same']:,} the same,"
        f" {people['cheaper']:,} less.</p>"
    )
    if people["count"]:
        names = ("least", *(f"{one} %" for one in people["percentiles"]), "most")
        values = (people["least"], *people["percentiles"].values(), people["most"])
        parts.append(_table(names, [values], range(len(names))))
        parts.append(bars(f"subscribers by change, {currency}", ("subscribers",), _histogram(people["histogram"]), 1))
    for name, title in (("dearer", "Who would have paid most more"), ("cheaper", "Who would have paid most less")):
        if of[name]:
            lines = [
                (one["subscriber"], one["account"], f"{one['pieces']:,}", *(one[key] for key in SUMS))
                for one in of[name]
            ]
            columns = ("subscriber", "account", "pieces", "before", "after", "change", "%")
            parts += [f"<h3>{title}</h3>", _table(columns, lines, range(2, 7))]
    return parts


def _bars(each: dict[str, Any]) -> list[Bar]:
    return [
        Bar(
            name,
            [_micro(of["before"]), _micro(of["after"])],
            f"{name}: {of['before']} before, {of['after']} after ({of['change']})",
        )
        for name, of in each.items()
    ]


def _micro(text: str) -> int:
    return int(Decimal(text) * MICRO)


def _histogram(bins: list[dict[str, Any]]) -> list[Bar]:
    """Each bin is named by its end that is farther from zero."""
    found = []
    for one in bins:
        low, high, count = one["from"], one["to"], one["count"]
        if low == high:
            label = title = "no change"
        elif low is None:
            label = title = f"below {high}"
        elif high is None:
            label = title = f"above {low}"
        else:
            label, title = low if low.startswith("-") else high, f"{low} to {high}"
        found.append(Bar(label, [count], f"{title}: {count:,}"))
    return found


def _refused(refused: dict[str, Any]) -> list[str]:
    parts = ["<h2>Sessions that would have been refused, or cut short</h2>", f"<p>{refused['sessions']:,}</p>"]
    if refused["by_reason"]:
        parts.append(_table(("sessions", "why"), _counts(refused["by_reason"]), (0,)))
        keys = ("time", "subscriber", "account", "service", "session", "why", "before", "after", "uncovered")
        parts.append(_table(keys, [[one[key] for key in keys] for one in refused["first"]], (6, 7, 8)))
    return parts
