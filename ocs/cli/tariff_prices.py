"""`ocs tariff quote` and `ocs tariff explain`: what something would cost, and why something cost what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, TypeVar

import click

from ocs.cli.output import json_option, say, show
from ocs.cli.remote import Remote, remote

F = TypeVar("F", bound=Callable[..., Any])

NUMBERS = ("rating_group", "service_id", "rat_type", "role", "port_type")


def _event(command: F) -> F:
    """Options that say what is used."""
    for option in reversed((
        click.argument("subscriber"),
        click.option("--service", required=True, help="Name of its row in the service table: data, voice, sms, ..."),
        click.option("--amount", default="1", help='How much: "3 MB", "90 s", "2 messages".'),
        click.option("--at", help="When, RFC 3339 (now)."),
        click.option(
            "facts",
            "--fact",
            multiple=True,
            metavar="NAME=VALUE",
            help="What the network says of it: called=4930123, apn=internet, rating_group=10, network.pool=gold, ...",
        ),
    )):  # fmt: skip
        command = option(command)
    return command


def _asked(subscriber: str, service: str, amount: str, at: str | None, facts: Iterable[str]) -> dict[str, Any]:
    from tariffs.notation import Quantity

    try:
        quantity = Quantity.read(amount)
    except ValueError as why:
        raise click.BadParameter(str(why), param_hint="--amount") from None
    asked: dict[str, Any] = {
        "identity" if ":" in subscriber else "subscriber": subscriber,
        "service": service,
        "amount": quantity.amount,
    }
    if quantity.kind.name != "UNITS":
        asked["unit"] = quantity.kind.name.lower()
    if at is not None:
        asked["at"] = at
    told: list[str] = []
    for fact in facts:
        name, equals, value = fact.partition("=")
        if not equals:
            raise click.BadParameter(f"expected NAME=VALUE, not {fact!r}", param_hint="--fact")
        if name in NUMBERS and not (value.isascii() and value.isdecimal()):
            raise click.BadParameter(f"expected a number for {name}, not {value!r}", param_hint="--fact")
        if name.startswith("network."):
            told.append(f"{name.removeprefix('network.')}={value}")
            continue
        asked[name] = int(value) if name in NUMBERS else value
    if told:
        asked["network"] = ";".join(told)
    return asked


@click.command()
@_event
@json_option
@remote
def quote(
    server: Remote,
    subscriber: str,
    service: str,
    amount: str,
    at: str | None,
    facts: tuple[str, ...],
    as_json: bool,
) -> None:
    """What a use by SUBSCRIBER (an id, or msisdn:49170...) would cost: a price enquiry, it touches nothing."""

    def told(found: Any) -> None:
        from tariffs.phrases import counted

        if found["priced"]:
            use = counted(found["amount"], found["unit"])
            text = f"{found['price']} {found['currency']} for {use}, by {found['tariff']}"
        else:
            text = f"no price: {found['reason']}"
        say(text)

    show(server.ask("POST", "quote", body=_asked(subscriber, service, amount, at, facts))[0], as_json, told)


@click.group()
def explain() -> None:
    """Why something costs what it does: a use, a ledger entry, a session."""


@explain.command("event")
@_event
@json_option
@remote
def explain_event(
    server: Remote,
    subscriber: str,
    service: str,
    amount: str,
    at: str | None,
    facts: tuple[str, ...],
    as_json: bool,
) -> None:
    """A use that may happen, at any time."""

    def told(found: Any) -> None:
        for line in _explanation(found["explanation"]):
            say(line)
        if found["blocks"]:
            say(f"{amount}, if money pays it all: {found['price']} {found['currency']}")
            _indented(found["blocks"])

    asked = _asked(subscriber, service, amount, at, facts)
    show(server.get("explain", "event", **asked), as_json, told)


@explain.command("entry")
@click.argument("account")
@click.argument("seq", type=int)
@json_option
@remote
def explain_entry(server: Remote, account: str, seq: int, as_json: bool) -> None:
    """A ledger entry of ACCOUNT, by its number, from what is stored with it."""

    def told(found: Any) -> None:
        why = f"{found['why']}: {found['reason']}" if found["reason"] else found["why"]
        what = f"entry {found['seq']} of {found['account']}: {found['amount']} ({why}), {found['time']}"
        say(f"{what}, against {found['counter_account']}")
        if found["piece"] is None:
            say("it pays no use")
            return
        if any(one["seq"] == found["seq"] for one in found["piece"]["corrections"]):
            say("it corrects:")
        _piece(found["piece"])
        if found["corrections"]:
            say(f"corrected by {', '.join(map(str, found['corrections']))}")
        if found["rating"] is not None:
            same = "the same ladder" if found["same_ladder"] else "another ladder now than the one that is kept"
            say(f"asked again, the tariff makes {same}:")
            _indented(_explanation(found["rating"]))

    show(server.get("explain", "accounts", account, "entries", str(seq)), as_json, told)


@explain.command("session")
@click.argument("session")
@click.option("--account", help="Who paid; looked up unless given, which works for 30 days.")
@json_option
@remote
def explain_session(server: Remote, session: str, account: str | None, as_json: bool) -> None:
    """All a session cost, piece by piece."""

    def told(found: Any) -> None:
        corrected = f", corrected by {found['corrected']} since" if Decimal(found["corrected"]) else ""
        say(f"session {found['session']} of {found['account']}: {found['cost']}{corrected}")
        for piece in found["pieces"]:
            _piece(piece)

    show(server.get("explain", "sessions", session, account=account), as_json, told)


@explain.command("fees")
@click.argument("tariff")
@click.option("--subscriber", help="Whose attributes, account and promotions count.")
@click.option("--from", "begin", metavar="TIME", help="When the assignment would begin; else now.")
@click.option("--until", metavar="TIME", help="When it would end; else it goes on.")
@click.option("--at", metavar="TIME", help="Up to when; else for a year.")
@json_option
@remote
def explain_fees(
    server: Remote,
    tariff: str,
    subscriber: str | None,
    begin: str | None,
    until: str | None,
    at: str | None,
    as_json: bool,
) -> None:
    """Recurring fees of TARIFF: what its document says, and how the amount of each period comes about."""
    from ocs.cli.fees import explained

    asked = {"subscriber": subscriber, "from": begin, "until": until, "at": at}
    show(server.get("explain", "tariffs", tariff, "fees", **asked), as_json, explained)


def _piece(piece: Any) -> None:
    from tariffs.phrases import counted

    line = ", ".join(
        f"{name} {value}"
        for name, value in (("group", piece["rating_group"]), ("service", piece["service_identifier"]))
        if value is not None
    )
    used = f"{counted(piece['used'], piece['unit'])} used" if piece["used"] else "nothing used"
    granted = f", {piece['granted']} granted" if piece["granted"] else ""
    flags = f" [{', '.join(piece['flags'])}]" if piece["flags"] else ""
    of = f" ({line})" if line else ""
    say(f"{piece['time']} {piece['phase']} {piece['service']}{of}: {used}{granted}, costs {piece['cost']}{flags}")
    if piece["set_aside_for"]:
        say(f"  set aside, not charged: {piece['set_aside']} {piece['unit']} ({piece['set_aside_for']})")
    if piece["result"] not in ("ok", "no grant"):
        say(f"  {piece['result']}")
    if not piece["ladder"]:
        return
    say(f"  by {piece['tariff']}:")
    _indented(piece["ladder"], "    ")
    if piece["counters"]:
        _indented(piece["stood"])
    if piece["blocks"]:
        say("  climbed:" if piece["reproduced"] else "  climbed, as far as the records kept say:")
        _indented(piece["blocks"], "    ")
    for paid in piece["paid"]:
        tax = f", net {paid['net']} and tax {paid['tax']}" if paid["tax"] is not None else ""
        rate = f", exchanged at {paid['exchange_rate']}" if paid["exchange_rate"] else ""
        of_kind = "" if paid["kind"] == "money" else f" {paid['kind']}"
        after = f"bucket {paid['bucket']}: {paid['amount']}{of_kind}, leaves {paid['balance_after']}"
        say(f"  entry {paid['seq']}: {after}{tax}{rate}")
    for one in piece["corrections"]:
        say(f"  entry {one['seq']} corrects it by {one['amount']} ({one['reason']}), {one['time']}")


def _indented(lines: Iterable[str], by: str = "  ") -> None:
    for line in lines:
        say(by + line)


def _explanation(told: Any) -> Iterable[str]:
    """As tariffs.explain.Explanation tells it."""
    import msgspec

    from tariffs.explain import Explanation

    return msgspec.convert(told, Explanation).lines()
