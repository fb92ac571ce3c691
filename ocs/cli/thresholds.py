"""`ocs account threshold ...` and `ocs account service ...`"""

from __future__ import annotations

from typing import Any

import click

from ocs.cli.output import json_option, rows, say, show
from ocs.cli.remote import Remote, remote

ACCOUNT = click.argument("account", metavar="ACCOUNT")
NAME = click.argument("name")
SERVICE = click.argument("service")


def thresholds_table(found: Any) -> None:
    columns = ("threshold", "looks at", "crossed below", "armed from", "now", "state", "since", "of")
    lines = [
        (
            one["name"],
            _looks_at(one),
            one["below"] if one["percent"] is None else f"{one['percent']} % ({one['level'] or 'never filled'})",
            one["rearm"] if one["percent"] is None else f"{one['rearm_percent']} %",
            one["value"],
            one["state"],
            one["crossed_since"],
            f"tariff {one['tariff']}" if one["tariff"] else "account",
        )
        for one in found["items"]
    ]
    rows("thresholds", columns, lines, right=("crossed below", "armed from", "now"))


def _looks_at(one: Any) -> str:
    parts = [one["kind"]]
    parts += [f'in "{one["bucket"]}"'] if one["bucket"] else []
    parts += [f"for {one['service']}"] if one["service"] else []
    return " ".join(parts)


def services_table(found: Any) -> None:
    columns = ("service", "suspend below", "resume at", "state", "since")
    lines = [
        (one["service"], one["suspend_below"], one["resume_at"], one["state"], one["suspended_since"])
        for one in found["items"]
    ]
    rows("services with a line of their own", columns, lines, right=("suspend below", "resume at"))


@click.group("threshold")
def threshold() -> None:
    """Be told when a balance falls below an amount, or below a percentage of its last fill."""


@threshold.command("set")
@ACCOUNT
@NAME
@click.option("--below", metavar="AMOUNT", help="Crossed below this amount; or --percent.")
@click.option("--percent", type=int, help="Crossed below so many percent of the last fill.")
@click.option("--rearm", metavar="AMOUNT", help="Armed again from this amount on. Default: from --below on.")
@click.option("--rearm-percent", type=int, help="Armed again from so many percent on. Default: from --percent on.")
@click.option("--kind", type=click.Choice(["money", "octets", "seconds", "units"]), default="money")
@click.option("--bucket", help="Only buckets of this name.")
@click.option("--service", help="Only buckets that may pay this service.")
@json_option
@remote
def set_threshold(server: Remote, account: str, name: str, as_json: bool, **options: Any) -> None:
    """Set the threshold NAME, or replace it."""
    body = {field: value for field, value in options.items() if value is not None}
    answer = server.ask("PUT", "accounts", account, "thresholds", name, body=body)[0]
    show(answer, as_json, lambda one: thresholds_table({"items": [one]}))


@threshold.command("list")
@ACCOUNT
@json_option
@remote
def list_thresholds(server: Remote, account: str, as_json: bool) -> None:
    """Thresholds and where each stands: armed, or crossed since when."""
    show(server.get("accounts", account, "thresholds"), as_json, thresholds_table)


@threshold.command("delete")
@ACCOUNT
@NAME
@remote
def delete_threshold(server: Remote, account: str, name: str) -> None:
    """Take the threshold NAME away."""
    server.ask("DELETE", "accounts", account, "thresholds", name)
    say(f"{account}: no threshold {name} any more")


@click.group("service")
def service() -> None:
    """Suspend single services for credit by a line of their own."""


@service.command("set")
@ACCOUNT
@SERVICE
@click.option("--suspend-below", metavar="MONEY", required=True)
@click.option("--resume-at", metavar="MONEY", help="Default: as --suspend-below.")
@json_option
@remote
def set_service(
    server: Remote, account: str, service: str, suspend_below: str, resume_at: str | None, as_json: bool
) -> None:
    """Give SERVICE a line of its own, or another one."""
    body = {"suspend_below": suspend_below} | ({"resume_at": resume_at} if resume_at is not None else {})
    answer = server.ask("PUT", "accounts", account, "services", service, body=body)[0]
    show(answer, as_json, lambda one: services_table({"items": [one]}))


@service.command("list")
@ACCOUNT
@json_option
@remote
def list_services(server: Remote, account: str, as_json: bool) -> None:
    """Services with a line of their own, and whether they are suspended."""
    show(server.get("accounts", account, "services"), as_json, services_table)


@service.command("delete")
@ACCOUNT
@SERVICE
@remote
def delete_service(server: Remote, account: str, service: str) -> None:
    """Take the line of SERVICE away: then the account's counts for it."""
    server.ask("DELETE", "accounts", account, "services", service)
    say(f"{account}: {service} has no line of its own any more")
