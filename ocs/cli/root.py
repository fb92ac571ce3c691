"""The commands, each imported only when it is asked for: `--help` must not wait for a server's libraries."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any, Final

import click

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("ocs.cli.serve:run", "Serve: all roles in one go, stores embedded unless configured."),
    "check": ("ocs.cli.serve:check", "Validate the configuration and reach the stores; say what is wrong."),
    "doctor": ("ocs.cli.doctor:doctor", "What is wrong with this host, its stores and its peers: and what to do."),
    "status": ("ocs.cli.status:status", "All hosts of the store: roles, builds, peers, the copy to PostgreSQL."),
    "upgrade": ("ocs.cli.status:upgrade", "Which builds run, and what holds the next stored format back."),
    "restart": ("ocs.cli.status:restart", "Restart the processes of all hosts, one host after the other."),
    "account": ("ocs.cli.account:account", "Accounts: balances, settings, top-ups."),
    "reservation": ("ocs.cli.reservation:reservation", "Money reserved for a purchase: confirmed in parts, released."),
    "transfer": ("ocs.cli.transfer:transfer", "Transfers from one account to another one."),
    "subscriber": ("ocs.cli.subscriber:subscriber", "Subscribers and their identities."),
    "search": (
        "ocs.cli.search:search",
        "Find by what a caller says: a number in any spelling, an id, a customer, a tag.",
    ),
    "import": ("ocs.cli.importing:import_file", "Accounts and subscribers out of a file: CSV, NDJSON; any number."),
    "export": ("ocs.cli.exporting:export_file", "All accounts and subscribers into a file: what import takes."),
    "tariff": ("ocs.cli.tariff:tariff", "Tariff documents: check, publish, show."),
    "fees": ("ocs.cli.fees:fees", "Recurring fees: what is due, what was taken, the run that settles them."),
    "session": ("ocs.cli.session:session", "Charging sessions: what is going on, report or end."),
    "charge": ("ocs.cli.charge:charge", "Charge by hand, as a platform does over HTTP."),
    "job": (
        "ocs.cli.job:job",
        "What the network is told of which session, and what comes of it.",
    ),
    "trace": ("ocs.cli.trace:trace", "Requests as they are served: decoded, decided, timed; for Wireshark too."),
    "radius": ("ocs.cli.radius:radius", "RADIUS clients: what they send, what is demanded of them."),
    "voucher": ("ocs.cli.voucher:voucher", "Vouchers: batches of codes, and their redemption."),
    "offer": ("ocs.cli.offer:offer", "Top-up offers: what a payment gives besides itself."),
    "suspense": ("ocs.cli.suspense:suspense", "Use that was reported and not charged: charge it or write it off."),
    "event": ("ocs.cli.event:event", "Events: what was told to the world, and what is being told."),
    "webhook": ("ocs.cli.webhook:webhook", "Where events are delivered to, and what became of them."),
    "token": ("ocs.cli.token:token", "Tokens, roles and permissions of the API: who may do what."),
    "audit": ("ocs.cli.audit:audit", "The audit trail: who changed money or master data."),
    "approval": ("ocs.cli.approval:approval", "What waits for a second person: see, approve, reject."),
    "exposure": ("ocs.cli.exposure:exposure", "Money at stake: held and not reported, owed, set aside."),
    "ledger": ("ocs.cli.ledger:ledger", "The ledger: entries of an account, and its proof."),
}


class Lazy(click.Group):
    """A group that knows the names and first lines of its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as why:
            if not re.fullmatch(r"-\d", why.option_name):
                raise
            what = f"{why.option_name} is read as an option: put -- before a number below zero, behind all options"
            raise click.UsageError(what, why.ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


@click.command(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="ocs", prog_name="ocs")
def cli() -> None:
    """An open online charging server.

    `ocs run --demo` serves with demo data. The other commands operate a running server through its HTTP API.
    """
