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
        ("account a1: is closed", "account a1: is closed"),
        ("there is no account a1", "there is no account a1"),
    ],
    ids=["list", "inside", "seconds", "argument", "of a file", "a file", "in a file", "no field", "words"],
)
def test_a_refusal_names_what_was_typed(said: str, read: str) -> None:
    params = [
        click.Option(["--identity", "identities"], multiple=True),
        click.Option(["--tariff", "tariffs"], multiple=True),
        click.Option(["--valid-for"]),
        click.Argument(["amount"]),
    ]
    assert as_typed(said, params) == read


def test_a_number_below_zero_is_no_option() -> None:
    found = CliRunner().invoke(cli, ["account", "payout", "a1", "-5", "--reason", "r"])
    assert (found.exit_code, "put -- before a number below zero" in found.output) == (2, True)
