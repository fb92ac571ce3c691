"""`ocs run` and `ocs check`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocs.cli.given import PATH
from ocs.cli.output import say

if TYPE_CHECKING:
    from ocs.config.tree import Config
    from ocs.processes.handover import LeftBehind
    from ocs.processes.supervisor import Addresses


def options(command: Any) -> Any:
    for option in (
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="One key: http.listen=off"),
        click.option("--roles", metavar="ROLES", help="What runs here, of worker,api,keeper (all of them)."),
        click.option("--demo", is_flag=True, help="Load demo subscribers; admit any peer of this machine."),
        click.option("--data", type=PATH, help="Where everything is kept (ocs-data)."),
        click.option("--config", type=PATH, help="TOML file (ocs.toml, if it is there)."),
    ):
        command = option(command)
    return command


def configured(
    config: Path | None, data: Path | None, demo: bool, settings: tuple[str, ...], roles: str | None = None
) -> Config:
    from ocs.config.load import ConfigError, load

    try:
        return load(config, settings, data=data, demo=demo, roles=roles)
    except ConfigError as why:
        raise click.ClickException(str(why)) from None


@click.command()
@options
def run(config: Path | None, data: Path | None, demo: bool, roles: str | None, settings: tuple[str, ...]) -> None:
    """Serve: all roles in one go unless some are chosen, stores embedded unless configured. Ctrl-C stops cleanly."""
    from ocs.api.auth import EmptyToken, token_of
    from ocs.cli.effects import unsafe, without_effect
    from ocs.processes import handover, supervisor

    left = handover.found()
    found = configured(config, data, demo, settings, roles)
    if left is not None and left.trial:
        _would_take_over(found, left)
        return
    for text in without_effect(found):
        say(f"without effect: {text}", err=True)
    for text in unsafe(found):
        say(f"unsafe: {text}", err=True)
    try:
        token_of(found.data)
    except (OSError, EmptyToken) as why:
        raise click.ClickException(f"data directory {found.data}: {why}") from None
    sys.exit(supervisor.run(found, announce, left))


def _would_take_over(config: Config, left: LeftBehind) -> None:
    """Started beside the server that runs: say what keeps this configuration from going on in its place."""
    from ocs.cli.checks import checks
    from ocs.processes.handover import refusal

    if why := refusal(left, config):
        raise click.ClickException(why)
    if wrong := [f"{name}: {trouble}" for name, trouble in asyncio.run(checks(config)) if trouble]:
        raise click.ClickException("; ".join(wrong))


async def announce(config: Config, addresses: Addresses) -> None:
    """Once everything is up: where it is, for the person at the terminal."""
    from ocs.cli import demo

    scheme = config.http.scheme
    where = [
        ("Diameter", addresses.diameter),
        ("Diameter, TLS", addresses.diameter_tls),
        (
            "RADIUS",
            ", ".join(
                f"{of} {address}"
                for of, address in (("login", addresses.radius_auth), ("accounting", addresses.radius_acct))
                if address
            ),
        ),
        ("RADIUS, TLS", addresses.radsec),
        ("HTTP API", addresses.http and f"{scheme}://{addresses.http}/v1    (docs: {scheme}://{addresses.http}/docs)"),
        ("metrics", addresses.metrics and f"http://{addresses.metrics}/metrics"),
        ("API token", str(config.data / "admin.token")),
    ]
    lines = ["", "ocs is up", *(f"  {name:<14} {address}" for name, address in where if address)]
    if config.demo and addresses.http:
        try:
            await asyncio.to_thread(demo.load, config, addresses.http)
            lines += ["", *demo.lines(config, addresses.http)]
        except click.ClickException as why:
            lines += ["", f"the demo data could not be loaded: {why.message}"]
    say("\n".join([*lines, ""]))


@click.command()
@options
def check(config: Path | None, data: Path | None, demo: bool, roles: str | None, settings: tuple[str, ...]) -> None:
    """Validate the configuration and reach the stores; say what is wrong."""
    from ocs.cli.checks import checks

    found = configured(config, data, demo, settings, roles)
    wrong = 0
    for name, trouble in asyncio.run(checks(found)):
        say(f"{name}: {trouble or 'ok'}", err=bool(trouble))
        wrong += bool(trouble)
    if wrong:
        raise click.ClickException(f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong")
