"""`ocs ledger status`, `resume`, `quarantine`: the copy to PostgreSQL, and a person's word about what stopped it."""

from __future__ import annotations

from typing import Any, Final

import click

from ocs.cli.output import json_option, rows, say, show
from ocs.cli.remote import Remote, remote

REASON = click.option("--reason", required=True, help="Why, in words that stand beside it for ever.")
LONG_S: Final = 3_600
HELD: Final = ("account", "shard", "records", "first", "since", "why")


@click.command("status")
@click.option("--all", "every", is_flag=True, help="Also shards of which PostgreSQL has everything.")
@json_option
@remote
def status(server: Remote, every: bool, as_json: bool) -> None:
    """How far PostgreSQL is behind the live store, what is stopped, who is in quarantine."""

    def table(found: Any) -> None:
        oldest = f", the oldest of {found['oldest']}" if found["oldest"] else ""
        say(f"{found['lag_entries']} records are not in PostgreSQL yet{oldest}")
        shown = [one for one in found["shards"] if every or one["lag"] or one["stopped"]]
        if shown:
            columns = ("shard", "cursor", "head", "lag", "stopped")
            rows("shards", columns, [[one[name] for name in columns] for one in shown], right=("shard", "lag"))
        if found["quarantined"]:
            held(found["quarantined"])
        if found["lost_answers"]:
            say(f"{found['lost_answers']} acknowledged answers are in no store: `ocs ledger lost`")
        if (proof := found["verified"]) is not None:
            sound = f"{proof['findings']} findings: {proof['text']}" if proof["findings"] else "sound"
            say(f"last proved at {proof['ended']} by {proof['by']}: {sound}")

    show(server.get("ledger", "status"), as_json, table)


@click.command("resume")
@click.argument("shard", type=click.IntRange(min=0))
@click.option("--account", help="Whose the record is that stopped it, where it names nobody.")
@REASON
@json_option
@remote
def resume(server: Remote, shard: int, account: str | None, reason: str, as_json: bool) -> None:
    """Copy a stopped shard again, after you have looked."""
    body = {"reason": reason, **({"account": account} if account is not None else {})}
    done = server.post("ledger", "shards", str(shard), "resume", body=body)
    show(done, as_json, lambda answer: say(f"shard {answer['shard']} is copied again"))


@click.command("recover")
@REASON
@click.option("--dry-run", is_flag=True, help="Only say what would be brought back.")
@json_option
@remote
def recover(server: Remote, reason: str, dry_run: bool, as_json: bool) -> None:
    """PostgreSQL was put back from a backup: bring back what the live store still has. See docs/backup.md."""

    def text(done: Any) -> None:
        if done["dry_run"]:
            say("dry run: nothing is written")
        else:
            say(f"{done['copied']} records were copied from the streams, every shard is opened anew")
        if done["gaps"]:
            say(f"{done['gaps']} shards lack records: differences are posted as `recovered` (single entries are gone)")
        if done["orphaned"]:
            say(f"{done['orphaned']} records were taken back: their accounts had gone another way (table orphaned)")
        say(
            f"master data ahead by {done['changes']} changes: {done['accounts']} accounts,"
            f" {done['subscribers']} subscribers, {done['tariffs']} versions of tariffs, {done['rates']} rates"
        )
        say(
            f"{done['answers']} answers of events and postings, {done['voucher_claims']} claims of vouchers,"
            f" {done['refund_grants']} grants of refunds, {done['transfer_legs']} legs of transfers"
        )
        for name, what in (
            ("without_profile", "deleted after the backup, served again: delete again those that are to go"),
            (
                "legs_by_hand",
                "a leg of a merge is in an entry `recovered`: compare both accounts",
            ),
            ("fees_stopped", "recurring fees wait: no entry says from when on they are settled"),
        ):
            if done[name]:
                say(f"{what}: {', '.join(done[name])}")

    done = server.post("ledger", "recovery", body={"reason": reason, "dry_run": dry_run}, wait_s=LONG_S)
    show(done, as_json, text)


@click.command("lost")
@click.option("--accept", is_flag=True, help="You have taken note of them, and of why: with --reason.")
@click.option("--reason", help="Stands beside them for ever.")
@json_option
@remote
def lost(server: Remote, accept: bool, reason: str | None, as_json: bool) -> None:
    """Answers that were acknowledged and are in no store since the live one came back."""
    if accept != (reason is not None):
        raise click.UsageError("--accept and --reason belong together")
    if accept:
        done = server.post("ledger", "lost", "accept", body={"reason": reason})
        show(done, as_json, lambda answer: say(f"{answer['answers']} taken note of"))
        return
    columns = ("account", "session", "request_key", "time", "currency", "cost", "found")

    def table(found: Any) -> None:
        rows("lost answers", columns, [[one[name] for name in columns] for one in found["items"]], right=("cost",))

    show(server.get("ledger", "lost"), as_json, table)


@click.group("quarantine")
def quarantine() -> None:
    """Accounts whose records cannot be copied; nothing of them is lost, and none is restored until you decide."""


@quarantine.command("list")
@click.argument("account", required=False)
@json_option
@remote
def list_quarantine(server: Remote, account: str | None, as_json: bool) -> None:
    """Accounts in quarantine, or the records of one of them."""

    def records(found: Any) -> None:
        columns = ("id", "kind", "time", "session", "entries", "why")
        lines = []
        for one in found["items"]:
            entries = [
                f"{e['seq']}: {e['amount']} in bucket {e['bucket']} = {e['balance_after']}" for e in one["entries"]
            ]
            lines.append([entries if name == "entries" else one[name] for name in columns])
        rows(f"records of {account}", columns, lines)

    if account is None:
        show(server.get("ledger", "quarantine"), as_json, lambda found: held(found["items"]))
    else:
        show(server.get("ledger", "quarantine", account), as_json, records)


def held(accounts: Any) -> None:
    rows("in quarantine", HELD, [[one[name] for name in HELD] for one in accounts], right=("shard", "records"))


@quarantine.command("replay")
@click.argument("account")
@REASON
@json_option
@remote
def replay(server: Remote, account: str, reason: str, as_json: bool) -> None:
    """The cause is mended: copy the account's records as they are, all or none."""
    done = server.post("ledger", "quarantine", account, "replay", body={"reason": reason})
    show(done, as_json, settled)


@quarantine.command("confirm")
@click.argument("account")
@REASON
@json_option
@remote
def confirm(server: Remote, account: str, reason: str, as_json: bool) -> None:
    """They stay broken: post what they did to the balances as `recovered`."""
    done = server.post("ledger", "quarantine", account, "confirm", body={"reason": reason})
    show(done, as_json, settled)


def settled(done: Any) -> None:
    say(f"{done['account']}: {done['replayed']} records replayed, {done['recovered']} recovered")
    if done["dropped"]:
        say("the live store had gone another way: the account comes back from PostgreSQL")
