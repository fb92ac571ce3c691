"""`ocs status`, `ocs upgrade`, `ocs restart`: the hosts of a store, and what they are brought to."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import click

from ocs.cli.exposure import amounts
from ocs.cli.output import json_option, rows, say, show
from ocs.cli.remote import Remote, RequestRefused, remote

LOOK_S: Final = 1.0


@click.command("status")
@click.option("--processes", is_flag=True, help="Also each process of each host.")
@json_option
@remote
def status(server: Remote, processes: bool, as_json: bool) -> None:
    """All hosts of the store: roles, builds, who is connected; the stored format; how far PostgreSQL is."""

    def table(found: Any) -> None:
        if found["format"] is None:
            say("the hosts are not known now; this one:")
        for what, how in found["here"].items():
            if how != "ok" or found["format"] is None:
                say(f"  {what}: {how}")
        columns = ("host", "roles", "state", "since", "build", "formats", "peers", "radius clients", "http")
        if found["format"] is not None:
            rows("hosts", columns, [_line(host) for host in found["hosts"]])
        for host in found["hosts"]:
            if host["state"] != "ready" and host["why"]:
                say(f"{host['name']}: {host['why']}")
        if processes:
            rows(
                "processes",
                ("host", "process", "state", "build"),
                [
                    (host["name"], one["process"], "ready" if one["ready"] else one["why"] or "not ready", one["build"])
                    for host in found["hosts"]
                    for one in host["processes"]
                ],
            )
        _say_format(found["format"])
        _say_shards(found["shards"])
        _say_at_stake(found.get("at_stake"))
        for why in found["unknown"]:
            say(f"not known: {why}")

    show(server.get("status"), as_json, table)


@click.command("upgrade")
@json_option
@remote
def upgrade(server: Remote, as_json: bool) -> None:
    """Which builds run, and what holds the next stored format back."""

    def table(found: Any) -> None:
        rows(
            "builds",
            ("host", "build", "formats", "processes of other builds"),
            [
                (
                    host["name"],
                    host["build"],
                    _formats(host),
                    ", ".join(
                        f"{one['process']}: {one['build']}"
                        for one in host["processes"]
                        if one["build"] not in ("", host["build"])
                    ),
                )
                for host in found["hosts"]
                if host["state"] != "lost"
            ],
        )
        _say_format(found["format"])
        if (stored := found["format"]) is not None:
            say(
                f"the database is at migration {stored['migration']:03}: builds that know"
                f" {stored['migration_needed']:03} can start on it, if they read the stored format; the host that"
                f" answers knows {stored['migration_known']:03}"
            )
        for why in found["unknown"]:
            say(f"not known: {why}")

    show(server.get("status"), as_json, table)


@click.command("restart")
@click.option("--rolling", is_flag=True, required=True, help="One process after the other, without losing a request.")
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="Only this one; may be repeated.")
@click.option("--wait/--no-wait", default=True, help="Until it is done (the default).")
@json_option
@remote
def restart(server: Remote, rolling: bool, hosts: tuple[str, ...], wait: bool, as_json: bool) -> None:
    """Restart the processes of all hosts, one host after the other."""
    asked = server.post("restarts", body={"hosts": list(hosts)})
    waiting = set(asked["hosts"])
    said: dict[str, str] = {}
    while wait and waiting:
        asyncio.run(asyncio.sleep(LOOK_S))
        seen = server.get("status")
        if seen["format"] is None:  # PostgreSQL does not answer: nobody knows the hosts now
            continue
        found = {host["name"]: host for host in seen["hosts"] if host["state"] != "lost"}
        for name in sorted(waiting):
            host = found.get(name)
            if host is None or not host["restart"]:
                said[name] = "it is gone" if host is None else host["restart_said"] or "not begun: another host failed"
                waiting.discard(name)
                if not as_json:
                    say(f"{name}: {said[name]}")
    if as_json or not wait:
        show({**asked, "said": said}, as_json, lambda done: say("asked: " + ", ".join(done["hosts"])))
    failed = [name for name, text in said.items() if "processes restarted" not in text]
    if failed:
        raise RequestRefused(f"not restarted: {', '.join(failed)}")


def _line(host: Any) -> tuple[object, ...]:
    state = f"lost for {host['lost_s']} s" if host["state"] == "lost" else host["state"]
    if host["restart"]:
        state += f", restart {host['restart']}"
    return (
        host["name"],
        ",".join(host["roles"]),
        state,
        host["since"],
        host["build"],
        _formats(host),
        ", ".join(host["peers"]),
        ", ".join(host["radius_clients"]),
        host["http"],
    )


def _formats(host: Any) -> str:
    oldest, newest = host["reads_formats"]
    return str(oldest) if oldest == newest else f"{oldest} to {newest}"


def _say_format(stored: Any) -> None:
    if stored is None:  # that it is not known is said of all that is not
        return
    if stored["announced"] != stored["written"]:
        say(f"stored format {stored['written']} is written, {stored['announced']} is announced and follows in seconds")
        return
    say(f"stored format {stored['written']} is written" + (f" since {stored['since']}" if stored["since"] else ""))
    if stored["newest"] > stored["written"]:
        if stored["held_back"]:
            say(f"format {stored['written'] + 1} is held back:")
            for why in stored["held_back"]:
                say(f"  {why}")
        else:
            say(f"format {stored['written'] + 1} is held back by nobody, and follows after upgrade.after_s")


def _say_shards(shards: Any) -> None:
    if shards is None:
        return
    oldest = f", the oldest of {shards['oldest']}" if shards["oldest"] else ""
    say(f"{shards['lag_entries']} records are not in PostgreSQL yet{oldest}")
    if shards["stopped"]:
        say(f"{len(shards['stopped'])} shards are stopped: `ocs ledger status`")
    if shards["quarantined"]:
        say(f"{shards['quarantined']} accounts are in quarantine: `ocs ledger status`")


def _say_at_stake(seen: Any) -> None:
    if seen is None:  # not for this caller, or not known
        return
    least = "" if seen["complete"] else "at least "
    unheld = f"; {amounts(seen['unheld'])} came in in 24 h that nothing was held for" if seen["unheld"] else ""
    say(f"at stake: {least}{amounts(seen['total'])}{unheld}, at {seen['at']}: `ocs exposure`")
