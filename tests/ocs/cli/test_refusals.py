"""What an operator reads of a refusal is said of what he typed."""

import click
import pytest
from click.testing import CliRunner

from ocs.cli.remote import as_typed
from ocs.cli.root import cli


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("identities[0]: expected a kind", "--identity, number 1: expected a kind"),
        ("tariffs[1].tariff: there is none", "--tariff, number 2: there is none"),
        ("valid_for_s: at least 1", "--valid-for: at least 1"),
        ("amount: more than zero", "AMOUNT: more than zero"),
        ("codes[0]: not a code", "codes, number 1: not a code"),
        ("flat.toml: is not TOML", "flat.toml: is not TOML"),
        ("account.balance: money", "account.balance: money"),
        ("bands[0].units[1].days: at least 1", "bands[0].units[1].days: at least 1"),
        ("query: amount: expected digits", "AMOUNT: expected digits"),
        ("account a1: is closed", "account a1: is closed"),
        ("there is no account a1", "there is no account a1"),
    ],
    ids=[
        *("list", "inside", "seconds", "argument", "of a file", "a file", "in a file", "deep in a file", "of a query"),
        *("no field", "words"),
    ],
)
def test_a_refusal_names_what_was_typed(said: str, read: str) -> None:
    params = [
        click.Option(["--identity", "identities"], multiple=True),
        click.Option(["--tariff", "tariffs"], multiple=True),
        click.Option(["--valid-for"]),
        click.Argument(["amount"]),
    ]
    assert as_typed(said, params) == read


@pytest.mark.parametrize("amount", ["5 min", "-1", "1e3", "9007199254740992"])
def test_an_amount_to_charge_is_a_whole_number(amount: str) -> None:
    words = ["charge", "event", "voice", "s1", "--unit", "seconds", "--want", amount]
    found = CliRunner().invoke(cli, [*words, "--token", "t", "--url", "http://127.0.0.1:1"])
    assert (found.exit_code, "--want: expected a whole number of seconds" in found.output) == (2, True), found.output


def test_a_number_below_zero_is_no_option() -> None:
    found = CliRunner().invoke(cli, ["account", "payout", "a1", "-5", "--reason", "r"])
    assert (found.exit_code, "put -- before a number below zero" in found.output) == (2, True)
