"""`ocs search`"""

from __future__ import annotations

from typing import Any

import click

from ocs.cli.account import accounts_table
from ocs.cli.output import json_option, show
from ocs.cli.remote import Remote, remote
from ocs.cli.subscriber import subscribers_table


@click.command()
@click.argument("q", metavar="TEXT")
@json_option
@remote
def search(server: Remote, q: str, as_json: bool) -> None:
    """Find by what a caller says: a number in any spelling, an id, a customer, a tag."""

    def table(found: Any) -> None:
        accounts_table(found["accounts"])
        subscribers_table({"items": found["subscribers"], "next": None})

    show(server.get("search", q=q), as_json, table)
