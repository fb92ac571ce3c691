"""Options that may be left out but not be given empty: `--data "$DATA"` with an unset variable would mean the
current directory, `--account "$ACCOUNT"` every account."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

F = TypeVar("F", bound=Callable[..., Any])

EMPTY: Final = "it is empty: leave the option out for its default"


class GivenPath(click.Path):
    """A path that is not empty."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not value.strip():
            self.fail(EMPTY, param, ctx)
        return super().convert(value, param, ctx)


PATH: Final = GivenPath()


def key_option(command: F) -> F:
    """The option --key. An empty key is refused: it would mean a new key each time, and a repetition would take
    effect."""
    said = "Idempotency-Key: the same again does nothing twice (default: a new one)."
    return click.option("--key", callback=given, help=said)(command)


def tag_option(command: F) -> F:
    """The option --tag of a posting: charging tags by key, as `tags`."""
    said = "Charging tag of a key that the server declares (ledger.tags); more than once for several."
    return click.option("--tag", "tags", multiple=True, metavar="KEY=TEXT", callback=_tags, help=said)(command)


def _tags(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for one in value:
        key, text = tag_of(one, ctx, param)
        if key in tags:
            raise click.BadParameter(f"{key} is given twice", ctx, param)
        tags[key] = text
    return tags


def tag_wanted(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Callback of an option KEY=TEXT that picks entries by a charging tag, as the API takes it."""
    return None if value is None else ":".join(tag_of(value, ctx, param))


def tag_of(value: str, ctx: click.Context, param: click.Parameter) -> tuple[str, str]:
    key, _, text = value.partition("=")
    if not key or not text:
        raise click.BadParameter(f"expected KEY=TEXT, found {value!r}", ctx, param)
    return key, text


def given(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Callback for options with a text: refuses an empty one."""
    left_out = ctx.get_parameter_source(param.name or "") is ParameterSource.DEFAULT
    if isinstance(value, str) and not value.strip() and not left_out:
        raise click.BadParameter(EMPTY, ctx, param)
    return value
