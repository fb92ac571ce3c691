"""`ocs reservation ...`"""

from __future__ import annotations

from typing import Any

import click

from ocs.cli.given import key_option, tag_option
from ocs.cli.output import facts, json_option, show
from ocs.cli.remote import Remote, remote

NAME = click.argument("name", metavar="ID")
NUMBER = click.option("--number", type=int, required=True, help="1, 2, 3 ... of this reservation.")


@click.group()
def reservation() -> None:
    """Money reserved for a purchase: confirmed in parts, released."""


def reservation_table(found: Any) -> None:
    money = found["currency"]
    facts(
        f"reservation {found['id']}",
        [
            ("state", found["state"]),
            ("reserved", f"{found['reserved']} {money}"),
            ("confirmed", f"{found['confirmed']} {money}"),
            ("until", found["until"]),
            ("subscriber", found["subscriber"]),
            ("account", found["account"]),
            ("service", found["service"]),
            ("session", found["session"]),
        ],
    )


@reservation.command("make")
@click.argument("who", metavar="WHO")
@click.argument("amount")
@click.option("--id", "name", help="Your name of it, used once.")
@click.option("--service", default="generic", show_default=True)
@click.option("--lasts", type=int, default=3_600, show_default=True, metavar="SECONDS")
@tag_option
@key_option
@json_option
@remote
def make(
    server: Remote,
    who: str,
    amount: str,
    name: str | None,
    service: str,
    lasts: int,
    tags: dict[str, str],
    key: str | None,
    as_json: bool,
) -> None:
    """Reserve AMOUNT of a subscriber (an id, or an identity such as msisdn:491700000001): all of it, or nothing."""
    body: dict[str, Any] = {"amount": amount, "service": service, "lasts_s": lasts, "tags": tags}
    body["identity" if ":" in who else "subscriber"] = who
    body |= {"id": name} if name else {}
    show(server.post_once("reservations", body=body, key=key), as_json, reservation_table)


@reservation.command("show")
@NAME
@json_option
@remote
def show_reservation(server: Remote, name: str, as_json: bool) -> None:
    """What is reserved and confirmed."""
    show(server.get("reservations", name), as_json, reservation_table)


@reservation.command("confirm")
@NAME
@click.argument("amount")
@NUMBER
@click.option("--left", default="0.00", metavar="MONEY", help="Stays reserved; of 0 the reservation ends.")
@json_option
@remote
def confirm(server: Remote, name: str, amount: str, number: int, left: str, as_json: bool) -> None:
    """Debit AMOUNT of what is reserved."""
    body = {"number": number, "amount": amount, "left": left}
    show(server.post("reservations", name, "confirm", body=body), as_json, reservation_table)


@reservation.command("release")
@NAME
@NUMBER
@json_option
@remote
def release(server: Remote, name: str, number: int, as_json: bool) -> None:
    """Release what is reserved."""
    show(server.post("reservations", name, "release", body={"number": number}), as_json, reservation_table)
