"""`ocs exposure`"""

from __future__ import annotations

from typing import Any

import click

from ocs.cli.output import json_option, rows, say, show
from ocs.cli.remote import Remote, remote


@click.command()
@json_option
@remote
def exposure(server: Remote, as_json: bool) -> None:
    """Money at stake: held and not reported, owed, set aside, not in PostgreSQL yet, reported with nothing held for it.

    By currency, what is held also by peer. docs/monitoring.md says what exactly is counted.
    """

    def table(found: Any) -> None:
        held = [(one["peer"], one["sessions"], one["money"], one["currency"]) for one in found["held"]]
        rows("held, not reported yet", ("peer", "sessions", "money", "currency"), held, right=("sessions", "money"))
        if not found["complete"]:
            say("not all open sessions were read: this is of some of them")
        if found["owed"] is not None:
            owed = [(one["accounts"], one["money"], one["currency"]) for one in found["owed"]]
            rows("owed by accounts", ("accounts", "money", "currency"), owed, right=("accounts", "money"))
        if found["set_aside"] is not None:
            aside = [(one["uses"], one["money"], one["currency"]) for one in found["set_aside"]]
            rows("in suspense", ("uses", "money", "currency"), aside, right=("uses", "money"))
        if found["unheld"]:
            unheld = [(one["peer"], one["money"], one["currency"]) for one in found["unheld"]]
            rows("reported in 24 h, nothing held for it", ("peer", "money", "currency"), unheld, right=("money",))
        if waiting := found["waiting"]:
            least = "" if waiting["complete"] else "at least "
            debited = least + amounts(waiting["debited"])
            say(f"not in PostgreSQL yet: {waiting['records']} records, which debited {debited}")
        for why in found["unknown"]:
            say(f"not known: {why}")
        whole = found["complete"] and found["owed"] is not None and found["set_aside"] is not None
        say(f"at stake: {'' if whole else 'at least '}{amounts(found['total'])}")

    show(server.get("exposure"), as_json, table)


def amounts(of: dict[str, str]) -> str:
    return ", ".join(f"{money} {currency}" for currency, money in of.items()) or "nothing"
