"""`ocs token ...`"""

from __future__ import annotations

from typing import Any

import click

from ocs.cli.given import given
from ocs.cli.output import facts, json_option, rows, say, show
from ocs.cli.remote import Remote, remote

ID = click.argument("name", metavar="ID")


@click.group()
def token() -> None:
    """Tokens, roles and permissions of the API: who may do what."""


def _table(one: Any) -> None:
    facts(f"token {one['id']}", [(name.replace("_", " "), one[name]) for name in one if name not in ("id", "token")])
    if one["token"]:
        say(one["token"])
        say("It is not shown again.", err=True)


def _names(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> list[str]:
    for value in values:
        given(ctx, param, value)
    return list(values)


@token.command("create")
@click.argument("caller")
@click.option("--role", "roles", multiple=True, required=True, callback=_names, help="admin, cashier ...; repeatable.")
@click.option("--scope", "scopes", multiple=True, callback=_names, help="Only this permission, or *.read; repeatable.")
@click.option("--description", callback=given)
@click.option("--expires", callback=given, help="2027-01-01T00:00:00Z; default: never.")
@json_option
@remote
def create_token(server: Remote, caller: str, as_json: bool, **more: Any) -> None:
    """A token for CALLER, a person or a program. Prints it, once."""
    body = {"caller": caller} | {name: value for name, value in more.items() if value}
    show(server.post("tokens", body=body), as_json, _table)


@token.command("list")
@click.option("--after", callback=given, help='"next" of the page before.')
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@remote
def list_tokens(server: Remote, as_json: bool, **page: Any) -> None:
    """All tokens, with when and from where they were used last."""

    def table(found: Any) -> None:
        columns = ("id", "caller", "roles", "scopes", "state", "expires", "last_used", "last_address")
        rows("tokens", columns, [[one[column] for column in columns] for one in found["items"]])
        if found["next"]:
            say(f"more: --after {found['next']}")

    show(server.get("tokens", **page), as_json, table)


@token.command("show")
@ID
@json_option
@remote
def show_token(server: Remote, name: str, as_json: bool) -> None:
    """One of them."""
    show(server.get("tokens", name), as_json, _table)


@token.command("rotate")
@ID
@click.option("--overlap", "overlap_s", type=click.IntRange(0, 30 * 86_400), default=86_400, show_default=True,
              help="Seconds in which the old secret opens too; 0: it ends now.")  # fmt: skip
@json_option
@remote
def rotate_token(server: Remote, name: str, overlap_s: int, as_json: bool) -> None:
    """A new secret for the same token. Prints it, once."""
    show(server.post("tokens", name, "rotate", body={"overlap_s": overlap_s}), as_json, _table)


@token.command("revoke")
@ID
@json_option
@remote
def revoke_token(server: Remote, name: str, as_json: bool) -> None:
    """It opens nothing any more."""
    show(server.post("tokens", name, "revoke"), as_json, _table)


@token.command("permissions")
@json_option
@remote
def list_permissions(server: Remote, as_json: bool) -> None:
    """Every permission, the roles that have it, and what they may move by it."""

    def table(found: Any) -> None:
        lines = []
        for one in found["permissions"]:
            roles = [role for role in found["roles"] if one["name"] in role["permissions"]]
            names = [role["name"] + _limits(role, one["name"]) for role in roles]
            lines.append([one["name"], one["allows"], "yes" if one["waits"] else "", ", ".join(names)])
        rows("permissions", ("permission", "allows", "second person", "roles"), lines)

    show(server.get("roles"), as_json, table)


def _limits(role: Any, permission: str) -> str:
    thing, _, verb = permission.partition(".")
    own = [one for one in role["limits"] if one["permission"] in (permission, f"{thing}.*", f"*.{verb}", "*")]
    words = [
        " ".join(
            filter(None, (one["each"] and f"{one['each']} each", one["day"] and f"{one['day']} a day", one["unit"]))
        )
        for one in own
    ]
    return f" ({'; '.join(words)})" if words else ""


@token.command("whoami")
@json_option
@remote
def who_am_i(server: Remote, as_json: bool) -> None:
    """Whose token this is, and what it allows."""
    show(server.get("me"), as_json, lambda one: facts(one["caller"], list(one.items())))
