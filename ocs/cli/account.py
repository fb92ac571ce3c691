"""`ocs account ...`"""

from __future__ import annotations

from typing import Any, Final

import click

from ocs.cli.given import given, key_option, tag_option
from ocs.cli.limits import limit_group
from ocs.cli.output import facts, json_option, rows, show
from ocs.cli.remote import Remote, RequestRefused, remote
from ocs.cli.statement import balance, statement
from ocs.cli.thresholds import service, services_table, threshold, thresholds_table
from ocs.cli.transfer import transfer_table

NAME = click.argument("name", metavar="ACCOUNT")
STATES: Final = ("created", "active", "suspended", "grace", "closed")
REASONS: Final = ("credit", "barred", "fraud", "operator", "overdue", "fee")


@click.group()
def account() -> None:
    """Accounts: balances, settings, top-ups."""


account.add_command(limit_group("accounts"))
account.add_command(threshold)
account.add_command(service)
account.add_command(balance)
account.add_command(statement)


def account_table(found: Any) -> None:
    money = found["currency"]
    facts(
        f"account {found['id']}",
        [
            ("state", found["state"]),
            ("customer", found["customer"]),
            ("tags", found["tags"]),
            ("suspended for", found["suspended_for"]),
            ("grace until", found["grace_until"]),
            ("active since", found["activated"]),
            ("balance", f"{found['balance']} {money}"),
            ("held", f"{found['held']} {money}"),
            ("available", f"{found['available']} {money}"),
            ("credit limit", f"{found['credit_limit']} {money}"),
            ("suspend below", found["suspend_below"]),
            ("resume at", found["resume_at"]),
            ("time zone", found["time_zone"]),
            ("billing day", found["billing_day"]),
            ("revision", found["rev"]),
        ],
    )
    buckets_table(found["buckets"])
    if found["thresholds"]:
        thresholds_table({"items": found["thresholds"]})
    if found["services"]:
        services_table({"items": found["services"]})


def buckets_table(buckets: Any) -> None:
    columns = ("id", "name", "kind", "amount", "held", "priority", "valid until", "pays")
    lines = [
        (
            b["id"],
            b["name"],
            *(_both(b, field) for field in ("kind", "amount", "held")),
            b["priority"],
            _valid_until(b),
            _pays(b),
        )
        for b in buckets
    ]
    rows("buckets", columns, lines, right=("amount", "held", "priority"))


def _both(bucket: Any, field: str) -> str:
    """Of units, and of the money in the same bucket."""
    money = {"kind": "money"} | bucket["money"] if bucket["money"] is not None else None
    return f"{bucket[field]} + {money[field]}" if money is not None else bucket[field]


def _valid_until(bucket: Any) -> str | None:
    """How long a bucket pays that nobody has used yet is known, and not until when."""
    if bucket["valid_until"] is None and bucket["valid_for_s"] is not None:
        return f"{bucket['valid_for_s']} s from its first use"
    return bucket["valid_until"]  # type: ignore[no-any-return]


def _pays(bucket: Any) -> str:
    """What for, for whom and when; whether it was given, and whether nothing behind it pays."""
    limits = [", ".join(bucket["scope"]) or "all"]
    limits += [f"of {bucket['member']}"] if bucket["member"] else []
    limits += [f"at {bucket['hours']}"] if bucket["hours"] else []
    limits += [f"for {bucket['price']} per {bucket['per']}"] if bucket["price"] else []
    limits += ["(bonus)"] if bucket["bonus"] else []
    limits += ["(blocker)"] if bucket["blocker"] else []
    return " ".join(limits)


def posted_table(done: Any) -> None:
    columns = ("seq", "bucket", "kind", "amount", "after", "why")
    lines = [(e["seq"], e["bucket"], e["kind"], e["amount"], e["balance_after"], e["why"]) for e in done["entries"]]
    rows(f"account {done['account']}: balance {done['balance']}, {done['state']}", columns, lines)


@account.command("list")
@click.option("--customer", callback=given, help="Only of this customer.")
@click.option("--tag", callback=given, help="Only with this tag.")
@click.option("--identity", callback=given, help="Only those that pay for whoever has it, in any spelling.")
@click.option("--state", type=click.Choice(STATES), help="Only in this state.")
@click.option("--suspended-for", type=click.Choice(REASONS), help="Only suspended for this, whatever else for.")
@click.option("--currency", callback=given, help="Only of this currency; needed with an amount.")
@click.option("--free-from", metavar="MONEY", help="Only with so much free money or more.")
@click.option("--free-below", metavar="MONEY", help="Only with less; 0 finds who owes.")
@json_option
@remote
def list_accounts(server: Remote, as_json: bool, **wanted: str | None) -> None:
    """Accounts: all, or those that all options together mean.

    State and free money are those of the last record in PostgreSQL. With --state, --suspended-for, --currency or an
    amount who has least comes first, else the order is that of the ids.
    """
    found: dict[str, Any] = {"items": [], "next": ""}
    while found["next"] is not None:
        page = server.get("accounts", after=found["next"] or None, limit=1000, **wanted)
        found = {"items": found["items"] + page["items"], "next": page["next"]}

    def table(answer: Any) -> None:
        accounts_table(answer["items"])

    show(found, as_json, table)


def accounts_table(found: Any) -> None:
    columns = ("id", "state", "free", "currency", "time zone", "created", "customer", "tags")
    lines = [
        (a["id"], _state(a), a["free"], a["currency"], a["time_zone"], a["created"], a["customer"], a["tags"])
        for a in found
    ]
    rows("accounts", columns, lines, right=("free",))


def _state(found: Any) -> str | None:
    reasons = ", ".join(found["suspended_for"])
    return f"{found['state']}: {reasons}" if reasons else found["state"]


@account.command("show")
@NAME
@json_option
@remote
def show_account(server: Remote, name: str, as_json: bool) -> None:
    """State and balances."""
    show(server.get("accounts", name), as_json, account_table)


@account.command("set")
@NAME
@click.option("--currency", help="ISO 4217; needed for a new account.")
@click.option("--credit-limit", metavar="MONEY")
@click.option("--suspend-below", metavar="MONEY")
@click.option("--resume-at", metavar="MONEY")
@click.option("--time-zone", metavar="ZONE")
@click.option("--billing-day", type=click.IntRange(1, 31), help="On which its billing month begins, for fees.")
@click.option("--state", type=click.Choice(STATES))
@click.option("--grace-until", metavar="TIME", help="With --state grace: served until then, RFC 3339.")
@click.option("--customer", help="Your reference of the customer whose it is.")
@click.option("--tag", "tags", multiple=True, help="All it has; more than once for several.")
@click.option("--suspend-for", type=click.Choice(["operator", "barred", "fraud"]))
@json_option
@remote
def set_account(server: Remote, name: str, as_json: bool, tags: tuple[str, ...], **settings: str | int | None) -> None:
    """Create an account, or change its settings."""
    body: dict[str, Any] = {key: value for key, value in settings.items() if value is not None}
    body |= {"tags": list(tags)} if tags else {}
    if "currency" not in body:
        try:
            body["currency"] = server.get("accounts", name)["currency"]
        except RequestRefused as why:
            if not why.kind.endswith(":not-found"):
                raise
            raise click.UsageError(f"{why.message}: a new one needs --currency") from None
    show(server.put("accounts", name, body=body), as_json, account_table)


@account.command("topup", context_settings={"ignore_unknown_options": True})  # of -5 the server says what is wrong
@NAME
@click.argument("amount")
@click.option("--kind", type=click.Choice(["money", "octets", "seconds", "units"]), default="money")
@click.option("--valid-until", metavar="TIME", help="RFC 3339: 2030-01-01T00:00:00+01:00")
@click.option("--valid-for", type=int, metavar="SECONDS", help="From its first use on.")
@click.option("--scope", multiple=True, metavar="SERVICE", help="Services it may pay; more than once for several.")
@click.option("--priority", type=int, help="Lower pays first; bundles 50, the main balance 100.")
@click.option("--name", "bucket_name", default="", help="What the bucket is called.")
@click.option("--bonus", is_flag=True, help="Given, not paid for: never transferred or paid out.")
@click.option("--member", metavar="SUBSCRIBER", help="The only subscriber it pays for.")
@click.option("--blocker", is_flag=True, help="What it may pay is paid by nothing behind it.")
@click.option("--hours", metavar="HOURS", help='When it pays, on the account\'s clock: "mon-fri 22:00-06:00, sat".')
@click.option("--money", metavar="MONEY", help="In the same bucket as units: pays what they do not.")
@click.option("--price", metavar="MONEY", help="What its units cost besides, from money; see --per.")
@click.option("--per", type=int, help="Units that --price is for; else one.")
@click.option("--offer", callback=given, help="What this offer gives comes with it (`ocs offer`).")
@click.option("--reference", default="")
@tag_option
@key_option
@json_option
@remote
def top_up(
    server: Remote,
    name: str,
    amount: str,
    kind: str,
    valid_until: str | None,
    valid_for: int | None,
    scope: tuple[str, ...],
    priority: int | None,
    bucket_name: str,
    bonus: bool,
    member: str | None,
    blocker: bool,
    hours: str | None,
    money: str | None,
    price: str | None,
    per: int | None,
    offer: str | None,
    reference: str,
    tags: dict[str, str],
    key: str | None,
    as_json: bool,
) -> None:
    """Add money, or a bundle that is limited in time or to some services."""
    body: dict[str, Any] = {"amount": amount, "kind": kind, "reference": reference, "tags": tags}
    optional = {
        "valid_until": valid_until,
        "valid_for_s": valid_for,
        "scope": list(scope) or None,
        "priority": priority,
        "name": bucket_name or None,
        "bonus": bonus or None,
        "member": member,
        "blocker": blocker or None,
        "hours": hours,
        "money": money,
        "price": price,
        "per": per,
        "offer": offer,
    }
    body |= {field: value for field, value in optional.items() if value is not None}
    show(server.post_once("accounts", name, "topups", body=body, key=key), as_json, posted_table)


@account.command("bucket")
@NAME
@click.argument("bucket", type=int)
@click.option("--blocker/--no-blocker", required=True, help="Whether what it may pay is paid by nothing behind it.")
@json_option
@remote
def set_bucket(server: Remote, name: str, bucket: int, blocker: bool, as_json: bool) -> None:
    """Let the bucket with this number block what is behind it, or lift its block."""
    answer = server.ask("PUT", "accounts", name, "buckets", str(bucket), body={"blocker": blocker})[0]
    show(answer, as_json, lambda one: buckets_table([one]))


@account.command("adjust", context_settings={"ignore_unknown_options": True})  # -5 is an amount
@NAME
@click.argument("amount")
@click.option("--reason", required=True)
@click.option("--bucket", type=int, default=0, help="Default: the main balance.")
@click.option("--force", is_flag=True, help="Take what is held too.")
@click.option("--reference", default="", help="For your books; not a key.")
@tag_option
@key_option
@json_option
@remote
def adjust(
    server: Remote,
    name: str,
    amount: str,
    reason: str,
    bucket: int,
    force: bool,
    reference: str,
    tags: dict[str, str],
    key: str | None,
    as_json: bool,
) -> None:
    """Correct a balance, up or down."""
    body = {"amount": amount, "reason": reason, "bucket": bucket, "force": force, "reference": reference, "tags": tags}
    show(server.post_once("accounts", name, "adjustments", body=body, key=key), as_json, posted_table)


@account.command("payout")
@NAME
@click.argument("amount")
@click.option("--reason", required=True)
@click.option("--reference", default="", help="For your books; not a key.")
@tag_option
@key_option
@json_option
@remote
def pay_out(
    server: Remote,
    name: str,
    amount: str,
    reason: str,
    reference: str,
    tags: dict[str, str],
    key: str | None,
    as_json: bool,
) -> None:
    """Pay out AMOUNT of own money, or `all`: of the main bucket, what is not held, no bonus and no credit."""
    body: dict[str, Any] = {"reason": reason, "reference": reference, "tags": tags}
    body |= {} if amount == "all" else {"amount": amount}
    show(server.post_once("accounts", name, "payouts", body=body, key=key), as_json, posted_table)


@account.command("write-off")
@NAME
@click.option("--reason", required=True)
@click.option("--reference", default="", help="For your books; not a key.")
@tag_option
@key_option
@json_option
@remote
def write_off(
    server: Remote,
    name: str,
    reason: str,
    reference: str,
    tags: dict[str, str],
    key: str | None,
    as_json: bool,
) -> None:
    """Write off what the account owes."""
    body = {"reason": reason, "reference": reference, "tags": tags}
    show(server.post_once("accounts", name, "write-offs", body=body, key=key), as_json, posted_table)


@account.command("reverse")
@NAME
@click.argument("entry", type=int, metavar="SEQ")
@click.option("--reason", required=True)
@click.option("--permit-debt", is_flag=True, help="Also what was spent already.")
@click.option("--reference", default="", help="For your books; not a key.")
@tag_option
@key_option
@json_option
@remote
def reverse(
    server: Remote,
    name: str,
    entry: int,
    reason: str,
    permit_debt: bool,
    reference: str,
    tags: dict[str, str],
    key: str | None,
    as_json: bool,
) -> None:
    """Take back the posting with the entry SEQ, whole and once: a top-up, an adjustment, a payout ..."""
    body = {"entry": entry, "reason": reason, "permit_debt": permit_debt, "reference": reference, "tags": tags}
    show(server.post_once("accounts", name, "reversals", body=body, key=key), as_json, posted_table)


@account.command("transfer")
@NAME
@click.argument("amount")
@click.option("--from", "source", type=int, default=0, help="Bucket that pays. Default: the main balance.")
@click.option("--to", "target", type=int, default=0, help="Bucket that gets it, of the same kind. Default: main.")
@click.option("--reason", required=True)
@click.option("--reference", default="")
@tag_option
@key_option
@json_option
@remote
def transfer(
    server: Remote,
    name: str,
    amount: str,
    source: int,
    target: int,
    reason: str,
    reference: str,
    tags: dict[str, str],
    key: str | None,
    as_json: bool,
) -> None:
    """Move AMOUNT from one bucket to another one: what is not held, and no credit."""
    body = {"amount": amount, "from": source, "to": target, "reason": reason, "reference": reference, "tags": tags}
    show(server.post_once("accounts", name, "transfers", body=body, key=key), as_json, posted_table)


@account.command("close")
@NAME
@click.option("--reason", required=True)
@click.option(
    "--remainder",
    type=click.Choice(["payout", "write-off"]),
    help="What becomes of what is left; without it only an empty account is closed.",
)
@click.option("--reference", default="")
@tag_option
@key_option
@json_option
@remote
def close(
    server: Remote,
    name: str,
    reason: str,
    remainder: str | None,
    reference: str,
    tags: dict[str, str],
    key: str | None,
    as_json: bool,
) -> None:
    """Close an account that is not in use. payout: own money is paid out, the rest written off; write-off: all is."""
    body = {"reason": reason, "reference": reference, "tags": tags, "remainder": remainder}
    body = {field: value for field, value in body.items() if value is not None}
    show(server.post_once("accounts", name, "closing", body=body, key=key), as_json, posted_table)


@account.command("merge")
@NAME
@click.option("--into", required=True, callback=given, metavar="ACCOUNT", help="Gets all of it.")
@click.option("--reason", required=True)
@click.option("--reference", default="", help="For your books; not a key.")
@tag_option
@key_option
@json_option
@remote
def merge(
    server: Remote,
    name: str,
    into: str,
    reason: str,
    reference: str,
    tags: dict[str, str],
    key: str | None,
    as_json: bool,
) -> None:
    """Merge an account into another one: its subscribers move, what it has follows, and it is closed. What is held is
    waited for: `ocs transfer show` says how far it is."""
    body = {"into": into, "reason": reason, "reference": reference, "tags": tags}
    show(server.post_once("accounts", name, "merge", body=body, key=key), as_json, transfer_table)


@account.command("refund")
@NAME
@click.argument("amount")
@click.option("--reason", required=True)
@click.option("--entry", type=int, metavar="SEQ", help="Of this entry of the ledger.")
@click.option("--session", metavar="SESSION-ID", help="Of this session, its newest incarnation with something left.")
@click.option("--event", metavar="SESSION-ID", help="Of the one-time event in this session.")
@click.option("--number", type=int, metavar="N", help="CC-Request-Number of the event (default: 0).")
@click.option("--reference", default="", help="For your books; not a key.")
@tag_option
@key_option
@json_option
@remote
def refund(
    server: Remote,
    name: str,
    amount: str,
    reason: str,
    entry: int | None,
    session: str | None,
    event: str | None,
    number: int | None,
    reference: str,
    tags: dict[str, str],
    key: str | None,
    as_json: bool,
) -> None:
    """Give AMOUNT back of what an entry, a session or an event cost; never more than that. Anything else: adjust."""
    if [entry, session, event].count(None) != 2:
        raise click.UsageError("one of --entry, --session and --event says what is given back")
    if number is not None and event is None:
        raise click.UsageError("--number: only with --event")
    of = {"session": event, "number": number or 0} if event is not None else None
    named = {"entry": entry, "session": session, "event": of}
    body: dict[str, Any] = {"amount": amount, "reason": reason, "reference": reference, "tags": tags}
    body |= {field: value for field, value in named.items() if value is not None}
    show(server.post_once("accounts", name, "refunds", body=body, key=key), as_json, posted_table)
