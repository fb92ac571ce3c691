"""What comes from the network reaches the terminal as text, never as an order to it."""

import json
from pathlib import Path

import click
from click.testing import CliRunner

from ocs.cli import output
from ocs.cli.output import rows, say, show
from ocs.cli.remote import RequestRefused
from ocs.telemetry.visible import visible

EVIL = "gx;1\x1b]0;owned\x07\x9b31m\x7f\u202etxt\r"


def said(action: object) -> str:
    assert callable(action)
    return CliRunner().invoke(click.command()(action)).output


def test_control_characters_are_spelled_out() -> None:
    shown = visible(EVIL)
    assert shown == "gx;1\\u001b]0;owned\\u0007\\u009b31m\\u007f\\u202etxt\\u000d"
    assert visible("Grüße, 東京\tund\n") == "Grüße, 東京\tund\n"


def test_tables_lines_and_refusals_show_none() -> None:
    for shown in (
        said(lambda: rows(f"sessions of {EVIL}", ("id",), [(EVIL,)])),
        said(lambda: say(EVIL)),
        said(lambda: show({"id": EVIL}, True)),
        RequestRefused(EVIL).format_message(),
    ):
        assert "owned" in shown
        assert not set(shown) & set("\x1b\x07\x9b\x7f\u202e\r")


def test_a_line_break_makes_no_second_row() -> None:
    shown = said(lambda: rows("t", ("id",), [("a\nb",)]))
    assert "a\\nb" in shown


def test_json_is_still_what_was_said() -> None:
    assert json.loads(said(lambda: show({"id": EVIL}, True))) == {"id": EVIL}


def test_nothing_else_writes_to_the_terminal() -> None:
    for path in Path(output.__file__).parent.glob("*.py"):
        if path.name != "output.py":
            assert "click.echo" not in path.read_text(), path.name
