"""`ocs charge ...`: what a platform asks over HTTP, by hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ocs.cli.given import given, key_option, tag_option
from ocs.cli.output import facts, json_option, rows, show
from ocs.cli.remote import Remote, remote
from tariffs.units import EXACT_MAX

F = TypeVar("F", bound=Callable[..., Any])

SERVICE = click.argument("service")
WHO = click.argument("who", metavar="WHO")
ID = click.argument("name", metavar="ID")
NUMBER = click.option("--number", type=int, required=True, help="Which report it is: 1, 2, 3 ...")
USED = click.option("--used", metavar="AMOUNT", help="Since the last report.")
OF_SESSION = click.option("--service", required=True, callback=given, help="That it was begun with.")
WHOSE = click.option(
    "--who", callback=given, help="Whose it is, by id or identity: spares a look-up, and finds who pays for late use."
)


@click.group()
def charge() -> None:
    """Charge by hand, as a platform does over HTTP."""


def line_options(command: F) -> F:
    for option in (
        click.option("--group", type=int, help="Rating group."),
        click.option("--unit", type=click.Choice(["seconds", "octets", "units", "money"]), default="units"),
        click.option("--want", metavar="AMOUNT", help="As much as is given, unless named."),
        click.option("--called", default="", help="Who is called."),
        tag_option,
    ):
        command = option(command)
    return command


def _body(
    service: str,
    who: str | None,
    group: int | None,
    unit: str,
    want: str | None,
    called: str,
    tags: dict[str, str],
    **more: Any,
) -> dict[str, Any]:
    """more: members of the body; `used`: that of its line"""
    line: dict[str, Any] = {} if group is None else {"rating_group": group}
    used = more.pop("used", None)
    if used is not None:
        line["used"] = {unit: _amount("--used", used, unit)}
    if want is not None:
        line["requested"] = {unit: _amount("--want", want, unit)}
    body = {"service": service, "lines": [line], "facts": {"called": called} if called else {}} | more
    if tags:
        body["tags"] = tags
    if who is not None:
        body["identity" if ":" in who else "subscriber"] = who
    return {name: value for name, value in body.items() if value is not None}


def _amount(option: str, text: str, unit: str) -> str | int:
    if unit == "money":
        return text
    if not re.fullmatch(r"[0-9]{1,16}", text) or int(text) > EXACT_MAX:
        raise click.UsageError(f"{option}: expected a whole number of {unit}, from 0 to {EXACT_MAX}, not {text!r}")
    return int(text)


def _table(found: Any) -> None:
    pairs = [(name, found[name]) for name in ("result", "cost", "balance", "enough", "refund_token", "tariff")]
    facts(f"{found['id']} ({found['session']})", pairs)
    columns = ("group", "result", "granted", "valid for", "final")
    lines = []
    for one in found["lines"]:
        granted = " ".join(f"{amount} {unit}" for unit, amount in (one["granted"] or {}).items())
        final = one["final"] and f"{one['final']['action']} {one['final']['address']}"
        result = "nothing wanted" if one["result"] == "no-grant" else one["result"]
        lines.append((one["rating_group"], result, granted, one["validity_s"], final))
    rows("lines", columns, lines)


@charge.command("start")
@SERVICE
@WHO
@click.option("--id", "name", callback=given, help="Yours, used once (default: a new one).")
@line_options
@key_option
@json_option
@remote
def start(
    server: Remote, service: str, who: str, name: str | None, key: str | None, as_json: bool, **line: Any
) -> None:
    """Begin a session of WHO: a subscriber's id, or an identity such as msisdn:491700000001."""
    body = _body(service, who, **line, id=name)
    show(server.post_once("charging", "sessions", body=body, key=key), as_json, _table)


@charge.command("update")
@ID
@OF_SESSION
@WHOSE
@NUMBER
@USED
@line_options
@json_option
@remote
def update(server: Remote, name: str, service: str, as_json: bool, **said: Any) -> None:
    """Report what a session used, and ask for more."""
    body = _body(service, **said)
    body["lines"][0].setdefault("requested", {})
    show(server.post("charging", "sessions", name, "update", body=body), as_json, _table)


@charge.command("stop")
@ID
@OF_SESSION
@WHOSE
@NUMBER
@USED
@line_options
@json_option
@remote
def stop(server: Remote, name: str, service: str, as_json: bool, **said: Any) -> None:
    """End a session: report the rest, release what it holds."""
    show(server.post("charging", "sessions", name, "stop", body=_body(service, **said)), as_json, _table)


@charge.command("event")
@SERVICE
@WHO
@click.option("--action", type=click.Choice(["debit", "refund", "check", "price"]), default="debit", show_default=True)
@click.option("--refund-token", callback=given, help="refund_token of the debit that is given back.")
@line_options
@key_option
@json_option
@remote
def event(server: Remote, service: str, who: str, key: str | None, as_json: bool, **said: Any) -> None:
    """Debit something at once, give it back, ask for its price or whether there is enough."""
    show(server.post_once("charging", "events", body=_body(service, who, **said), key=key), as_json, _table)
