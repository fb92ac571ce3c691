"""Answers for people (tables) and for programs (`--json`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="The answer as JSON, for programs.")(command)


def show(answer: Any, as_json: bool, *tables: Callable[[Any], None]) -> None:
    if as_json:
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    for table in tables:
        table(answer)


def rows(title: str, columns: Sequence[str], lines: Iterable[Sequence[object]], right: Sequence[str] = ()) -> None:
    """A table; columns named in `right` hold amounts."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for line in lines:
        table.add_row(*(Text(_text(value)) for value in line))  # Text: what comes from outside is not markup
    Console(width=None if _terminal() else 200).print(table)


def facts(title: str, pairs: Iterable[tuple[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, show_header=False)
    for name, value in pairs:
        if value not in (None, "", []):
            table.add_row(name, Text(_text(value)))
    Console(width=None if _terminal() else 200).print(table)


def _terminal() -> bool:
    return sys.stdout.isatty()


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value)
