"""Commands that documents tell people to type exist, with the options they name."""

import re
from pathlib import Path

import click
import pytest

from ocs.cli.root import cli
from tests.servers import ROOT

TYPED = re.compile(r"`ocs ((?:[a-z-]+|--[a-z-]+)(?: [^`]*)?)`")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def unknown_in(words: list[str]) -> str:
    """The first word that is no command, or no option of its command; "" when there is none."""
    context, left = click.Context(cli), words
    command: click.Command = cli
    while left and isinstance(command, click.Group):
        found = command.get_command(context, left[0])
        if found is None:
            return left[0]
        command, left = found, left[1:]
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    return next((word for word in left if word.startswith("--") and word.partition("=")[0] not in known), "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_to_be_typed_is_there(page: Path) -> None:
    for found in TYPED.finditer(page.read_text()):
        assert not unknown_in(found[1].split()), found[0]


def test_a_command_that_is_not_there_is_found() -> None:
    assert unknown_in(["ledger", "mend"]) == "mend"
    assert unknown_in(["doctor", "--cure"]) == "--cure"
    assert unknown_in(["doctor", "--json"]) == ""
