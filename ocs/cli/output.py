"""Answers for people (tables) and for programs (`--json`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

from ocs.telemetry.visible import visible

F = TypeVar("F", bound=Callable[..., Any])


def say(text: str, *, nl: bool = True, err: bool = False) -> None:
    """Print a line. All output goes through here, so that control characters are made visible."""
    click.echo(visible(text), nl=nl, err=err)


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="The answer as JSON, for programs.")(command)


def show(answer: Any, as_json: bool, *tables: Callable[[Any], None]) -> None:
    if as_json:
        say(json.dumps(answer, indent=2, ensure_ascii=False))  # JSON spells what is not visible the same way
        return
    for table in tables:
        table(answer)


def tags_text(tags: Mapping[str, str]) -> str:
    """Charging tags on one line."""
    return ", ".join(f"{key}={text}" for key, text in tags.items())


def rows(title: str, columns: Sequence[str], lines: Iterable[Sequence[object]], right: Sequence[str] = ()) -> None:
    """A table; columns named in `right` hold amounts."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for line in lines:
        table.add_row(*(Text(_text(value)) for value in line))  # Text: what comes from outside is not markup
    _print(title, table)


def facts(title: str, pairs: Iterable[tuple[str, object]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False)
    for name, value in pairs:
        if value not in (None, "", []):
            table.add_row(name, Text(_text(value)))
    _print(title, table)


def _print(title: str, table: Any) -> None:
    """The title is a line of its own: that of a table is folded to its width."""
    from rich.console import Console
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(Text(visible(title), style="italic"))
    console.print(table)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return visible(str(value)).replace("\n", "\\n").replace("\t", "\\t")
