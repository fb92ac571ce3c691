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
    """Money at stake: held and not reported, owed, set aside, not in PostgreSQL yet.

    By currency, what is held also by peer. docs/monitoring.md says what exactly is counted.
    """

    def table(found: Any) -> None:
        held = [(one["peer"], one["sessions"], one["money"], one["currency"]) for one in found["held"]]
        rows("held, not reported yet", ("peer", "sessions", "money", "currency"), held, right=("sessions", "money"))
        if not found["complete"]:
            say("there are more open sessions than were read: this is of some of them")
        if found["owed"] is None:
            say("PostgreSQL does not answer: what is owed and set aside is not known")
            return
        owed = [(one["accounts"], one["money"], one["currency"]) for one in found["owed"]]
        rows("owed by accounts", ("accounts", "money", "currency"), owed, right=("accounts", "money"))
        aside = [(one["uses"], one["money"], one["currency"]) for one in found["set_aside"]]
        rows("in suspense", ("uses", "money", "currency"), aside, right=("uses", "money"))
        waiting = found["waiting"]
        debited = ", ".join(f"{money} {currency}" for currency, money in waiting["debited"].items()) or "nothing"
        least = "" if waiting["complete"] else "at least "
        say(f"not in PostgreSQL yet: {waiting['records']} records, which debited {least}{debited}")
        total = ", ".join(f"{money} {currency}" for currency, money in found["total"].items()) or "nothing"
        say(f"at stake: {total}")

    show(server.get("exposure"), as_json, table)
