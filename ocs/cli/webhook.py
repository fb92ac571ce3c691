"""`ocs webhook ...`"""

from __future__ import annotations

from typing import Any

import click

from ocs.cli.given import given
from ocs.cli.output import facts, json_option, rows, say, show
from ocs.cli.remote import Remote, remote

ID = click.argument("name", metavar="ID")


@click.group()
def webhook() -> None:
    """Where events are delivered to, and what became of them."""


def _table(one: Any) -> None:
    state = one["state"] + (f" ({one['paused_for']})" if one["paused_for"] else "")
    facts(
        f"webhook {one['id']}",
        [
            ("url", one["url"]),
            ("description", one["description"]),
            ("types", one["types"] or "all but those that have to be named"),
            ("accounts", one["accounts"] or "all"),
            ("services", one["services"] or "all"),
            ("state", state),
            ("why", one["why"]),
            ("failing since", one["failing_since"]),
            ("waiting", one["waiting"]),
            ("dead letters", one["dead"]),
            ("delivered", one["delivered"]),
            ("last delivered", one["last_delivered"]),
            ("old secret until", one["old_secret_until"]),
            ("created", f"{one['created']} by {one['created_by']}"),
        ],
    )
    if one["secret"]:
        say(f"secret: {one['secret']}")
        say("The receiver needs it to check signatures. It is not shown again.", err=True)


def _delivery(one: Any) -> None:
    facts(
        f"event {one['event']}",
        [(name.replace("_", " "), one[name]) for name in one if name != "event"],
    )


def _filter(command: Any) -> Any:
    for option in (
        click.option("--service", "services", multiple=True, callback=_each, help="About this service; repeatable."),
        click.option("--account", "accounts", multiple=True, callback=_each, help="Of this account; repeatable."),
        click.option(
            "--type", "types", multiple=True, callback=_each, help="account.suspended, session.*; repeatable."
        ),
    ):
        command = option(command)
    return command


def _each(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> list[str]:
    for value in values:
        given(ctx, param, value)
    return list(values)


@webhook.command("create")
@click.argument("to", metavar="URL")
@_filter
@click.option("--id", "id_", callback=given, help="A name of yours; default: one is made up.")
@click.option("--description", callback=given)
@click.option("--after", metavar="EVENT", callback=given, help="Begin after this event; default: now.")
@json_option
@remote
def create_webhook(server: Remote, to: str, id_: str | None, as_json: bool, **more: Any) -> None:
    """Have events delivered to URL. Prints the secret, once."""
    body = {"url": to, "id": id_, **more}
    show(server.post("webhooks", body={name: value for name, value in body.items() if value}), as_json, _table)


@webhook.command("list")
@click.option("--after", help='"next" of the page before.')
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@remote
def list_webhooks(server: Remote, as_json: bool, **page: Any) -> None:
    """All of them."""

    def table(found: Any) -> None:
        columns = ("id", "url", "types", "state", "waiting", "dead", "delivered", "last_delivered")
        lines = [
            [one[column] or "" if column == "types" else one[column] for column in columns] for one in found["items"]
        ]
        rows("webhooks", columns, lines, right=("waiting", "dead", "delivered"))
        if found["next"]:
            say(f"more: --after {found['next']}")

    show(server.get("webhooks", **page), as_json, table)


@webhook.command("show")
@ID
@json_option
@remote
def show_webhook(server: Remote, name: str, as_json: bool) -> None:
    """What it gets, and how it is doing."""
    show(server.get("webhooks", name), as_json, _table)


@webhook.command("change")
@ID
@click.option("--to", metavar="URL", callback=given, help="Where it is now.")
@_filter
@click.option("--description")
@json_option
@remote
def change_webhook(server: Remote, name: str, to: str | None, as_json: bool, **more: Any) -> None:
    """Change where it is or what it gets; a list that is given takes the place of the one before."""
    body = {"url": to, **{field: value for field, value in more.items() if value != []}}
    given = {field: value for field, value in body.items() if value is not None}
    show(server.patch("webhooks", name, body=given), as_json, _table)


@webhook.command("delete")
@ID
@remote
def delete_webhook(server: Remote, name: str) -> None:
    """Forget it, and what has not arrived."""
    server.delete("webhooks", name)


@webhook.command("rotate-secret")
@ID
@click.option("--overlap", "overlap_s", type=click.IntRange(0, 30 * 86_400), default=86_400, show_default=True,
              help="Seconds in which both secrets sign; 0: the old one ends now.")  # fmt: skip
@json_option
@remote
def rotate_secret(server: Remote, name: str, overlap_s: int, as_json: bool) -> None:
    """A new secret. Prints it, once."""
    show(server.post("webhooks", name, "rotate-secret", body={"overlap_s": overlap_s}), as_json, _table)


@webhook.command("pause")
@ID
@json_option
@remote
def pause_webhook(server: Remote, name: str, as_json: bool) -> None:
    """Deliver nothing until it is resumed; events wait."""
    show(server.post("webhooks", name, "pause"), as_json, _table)


@webhook.command("resume")
@ID
@json_option
@remote
def resume_webhook(server: Remote, name: str, as_json: bool) -> None:
    """Go on at once with all that waits."""
    show(server.post("webhooks", name, "resume"), as_json, _table)


@webhook.command("test")
@ID
@json_option
@remote
def test_webhook(server: Remote, name: str, as_json: bool) -> None:
    """Deliver an event of type webhook.test; `deliveries` shows what became of it."""
    show(server.post("webhooks", name, "test"), as_json, _delivery)


@webhook.command("deliveries")
@ID
@click.argument("event", required=False)
@click.option("--state", type=click.Choice(["waiting", "delivered", "dead"]), help="Default: all.")
@click.option("--after", help='"next" of the page before.')
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@remote
def list_deliveries(server: Remote, name: str, event: str | None, as_json: bool, **filters: Any) -> None:
    """What waits, what was given up, and for a day what needed more than one attempt; or that of one EVENT."""

    def table(found: Any) -> None:
        columns = ("event", "type", "account", "state", "attempts", "last_attempt", "next_attempt", "result")
        rows(f"deliveries of {name}", columns, [[one[column] for column in columns] for one in found["items"]])
        if found["next"]:
            say(f"more: --after {found['next']}")

    if event is not None:
        show(server.get("webhooks", name, "deliveries", event), as_json, _delivery)
        return
    show(server.get("webhooks", name, "deliveries", **filters), as_json, table)


@webhook.command("retry")
@ID
@click.argument("event", required=False)
@click.option("--dead", is_flag=True, help="All dead letters, the oldest 500, instead of one EVENT.")
@json_option
@remote
def retry(server: Remote, name: str, event: str | None, dead: bool, as_json: bool) -> None:
    """Send a dead letter again, or what waits at once."""
    if dead == (event is not None):
        raise click.UsageError("an EVENT, or --dead")
    if event is not None:
        show(server.post("webhooks", name, "deliveries", event, "retry"), as_json, _delivery)
    else:
        again = server.post("webhooks", name, "deliveries", "retry")
        show(again, as_json, lambda found: say(f"{found['deliveries']} are sent again"))
