"""Bar charts as SVG, self-contained and printable. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

WIDTH: Final = 900
HEIGHT: Final = 260
LEFT: Final = 90
BOTTOM: Final = 56
TOP: Final = 24
LINES: Final = 4
"""Of the scale."""
LABELS_MAX: Final = 31

COLOURS: Final = ("#8a8f98", "#1f5fa8")
"""Before and after; they differ in grey too."""


class Bar(NamedTuple):
    label: str
    values: Sequence[int]
    """One bar for each."""
    title: str
    """Shown under the pointer."""


def bars(title: str, legend: Sequence[str], groups: Sequence[Bar], unit: int) -> str:
    """Groups of bars beside each other, below zero too.

    unit:  a value of so much is 1 on the scale
    """
    values = [value for group in groups for value in group.values]
    high, low = max([0, *values]), min([0, *values])
    step = _step(high - low)
    high, low = -(-high // step) * step, low // step * step
    if high == low:
        high = step
    plot_px = HEIGHT - TOP - BOTTOM

    def y(value: int) -> float:
        return TOP + (high - value) * plot_px / (high - low)

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}"'
        ' xmlns="http://www.w3.org/2000/svg">'
    ]
    for value in range(low, high + 1, step):
        strong = ' class="zero"' if value == 0 else ""
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y(value):.1f}" y2="{y(value):.1f}"{strong}/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{_number(value, unit)}</text>')
    group_px = (WIDTH - LEFT) / max(len(groups), 1)
    every = -(-len(groups) // LABELS_MAX)
    for place, group in enumerate(groups):
        left = LEFT + place * group_px
        bar_px = group_px * 0.8 / max(len(group.values), 1)
        parts.append(f"<g><title>{escape(group.title)}</title>")
        for number, value in enumerate(group.values):
            top, bottom = y(max(value, 0)), y(min(value, 0))
            x = left + group_px * 0.1 + number * bar_px
            colour = COLOURS[number if len(group.values) > 1 else 1]
            parts.append(
                f'<rect x="{x:.1f}" y="{top:.1f}" width="{max(bar_px - 1, 0.5):.1f}" height="{bottom - top:.1f}"'
                f' fill="{colour}"/>'
            )
        parts.append("</g>")
        if place % every == 0:
            middle, foot = left + group_px / 2, HEIGHT - BOTTOM + 14
            turned = f' transform="rotate(-40 {middle:.1f} {foot})" text-anchor="end"' if len(groups) > 8 else ""
            anchor = "" if turned else ' text-anchor="middle"'
            parts.append(f'<text x="{middle:.1f}" y="{foot}"{turned}{anchor}>{escape(group.label)}</text>')
    for number, name in enumerate(legend):
        x = LEFT + number * 140
        parts.append(f'<rect x="{x}" y="4" width="12" height="12" fill="{COLOURS[number if len(legend) > 1 else 1]}"/>')
        parts.append(f'<text x="{x + 18}" y="14">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])


def _step(span: int) -> int:
    """1, 2 or 5 of a decimal place, so that the scale has a few lines."""
    wanted, step = max(-(-span // LINES), 1), 1
    while True:
        for digit in (1, 2, 5):
            if digit * step >= wanted:
                return digit * step
        step *= 10


def _number(value: int, unit: int) -> str:
    """A number in as few characters as possible."""
    whole, rest = divmod(abs(value), unit)
    decimals = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0") if unit > 1 and rest else ""
    return f"{'-' if value < 0 else ''}{whole:,}{'.' + decimals if decimals else ''}"
