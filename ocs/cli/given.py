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


def given(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Callback for options with a text: refuses an empty one."""
    left_out = ctx.get_parameter_source(param.name or "") is ParameterSource.DEFAULT
    if isinstance(value, str) and not value.strip() and not left_out:
        raise click.BadParameter(EMPTY, ctx, param)
    return value
