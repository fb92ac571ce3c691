"""`ocs event ...`"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click

from ocs.cli.given import given
from ocs.cli.output import json_option, rows, say, show
from ocs.cli.remote import Remote, remote

TYPES = click.option("--type", "types", multiple=True, help="Such as session.opened, or session.*; any number of them.")
ACCOUNT = click.option("--account", callback=given, help="Of this account.")
SERVICE = click.option("--service", callback=given, help="About this service.")


@click.group()
def event() -> None:
    """Events: what was told to the world, and what is being told."""


def _query(types: tuple[str, ...], account: str | None, service: str | None) -> dict[str, Any]:
    return {"type": ",".join(types) or None, "account": account, "service": service}


@event.command("list")
@TYPES
@ACCOUNT
@SERVICE
@click.option("--before", type=click.IntRange(1), help='"next" of the page before.')
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@json_option
@remote
def list_events(
    server: Remote, types: tuple[str, ...], account: str | None, service: str | None, as_json: bool, **page: Any
) -> None:
    """Newest first."""

    def table(found: Any) -> None:
        lines = [
            (one["time"], one["type"], one["subject"], one["id"], json.dumps(one["data"])) for one in found["items"]
        ]
        rows("events", ("time", "type", "subject", "id", "data"), lines)
        if found["next"]:
            say(f"more: --before {found['next']}")

    show(server.get("events", **_query(types, account, service), **page), as_json, table)


@event.command("tail")
@TYPES
@ACCOUNT
@SERVICE
@click.option("--after", "last_id", metavar="ID", help="Begin after this event; else with what comes from now on.")
@click.option("--count", type=click.IntRange(1), help="End after so many.")
@json_option
@remote
def tail_events(
    server: Remote,
    types: tuple[str, ...],
    account: str | None,
    service: str | None,
    last_id: str | None,
    count: int | None,
    as_json: bool,
) -> None:
    """As they come, one line each; goes on after the last one where the connection is cut. Ctrl-C ends it."""
    asyncio.run(_tail(server, _query(types, account, service), last_id or "", count, as_json))


async def _tail(server: Remote, query: dict[str, Any], last_id: str, count: int | None, as_json: bool) -> None:
    seen = 0
    async for text in server.follow("events", query=query, last_id=last_id):
        if as_json:
            say(text)
        else:
            one = json.loads(text)
            say(f"{one['time']}  {one['type']}  {one['subject']}  {json.dumps(one['data'], ensure_ascii=False)}")
        seen += 1
        if seen == count:
            return
