"""Every permission there is: one for each thing that may be allowed by itself. A row of the API's operations names the
one it needs; a role is a set of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

PERMISSIONS: Final[dict[str, str]] = {
    "accounts.read": "See accounts, their balances, entries, thresholds and limits",
    "accounts.write": "Open accounts, change their settings, suspend, close empty ones and open them again",
    "accounts.give-credit": "Also let accounts go further below zero: raise their credit limit",
    "accounts.close": "Close accounts, and pay out or write off what they still have",
    "accounts.top-up": "Add money or units that were paid for",
    "offers.read": "See top-up offers",
    "offers.write": "Say what top-ups with an offer give besides the payment",
    "accounts.adjust": "Correct a balance up or down, and move amounts between buckets",
    "accounts.adjust-held": "Also take what is held",
    "accounts.transfer": "Move own money from one account to another one",
    "accounts.merge": "Merge one account into another one",
    "accounts.pay-out": "Pay out own money",
    "accounts.write-off": "Write off a debt",
    "accounts.reverse": "Take back what was posted by hand",
    "accounts.make-debt": "Also what was spent already: that makes debt",
    "accounts.refund": "Give money back for use that was charged",
    "accounts.correct": "Post the difference that a rerating found",
    "accounts.import": "Open and change many accounts and subscribers from a file",
    "accounts.export": "Take out accounts and subscribers, all of them",
    "subscribers.read": "See subscribers and their limits",
    "subscribers.write": "Open, change, bar and remove subscribers, and set their passwords",
    "passwords.export": "Take out passwords of subscribers with them, as they are kept: sealed or hashed",
    "limits.write": "Set what accounts and subscribers may spend",
    "thresholds.write": "Set thresholds and lines of services of accounts",
    "fees.read": "See which recurring fees are due, and how far the run is that takes them",
    "fees.run": "Pause that run, and let it go on",
    "tariffs.read": "See tariffs, their files and exchange rates; ask for prices and explanations",
    "tariffs.write": "Publish tariffs, their files and exchange rates",
    "sessions.read": "See charging sessions",
    "sessions.end": "Have sessions report or end",
    "charging.charge": "Charge sessions and events over HTTP; reserve money, confirm it, release it",
    "charging.read": "See one's own reservations",
    "suspense.read": "See use that was set aside",
    "suspense.settle": "Charge it or write it off",
    "vouchers.read": "See batches and vouchers, and which voucher has a code",
    "vouchers.write": "Make batches, take codes in, activate and block",
    "vouchers.export": "Have the plain codes of a batch, once",
    "vouchers.redeem": "Redeem vouchers for accounts",
    "webhooks.read": "See webhooks and their deliveries",
    "webhooks.write": "Have events delivered to a URL; pause, resume, repeat deliveries",
    "events.read": "Read and follow events",
    "jobs.read": "See what the network is told of sessions",
    "jobs.write": "Repeat or cancel it",
    "network.read": "See peers and RADIUS clients",
    "network.write": "Forget what is demanded of a RADIUS client",
    "traces.watch": "Watch requests as they are served, with all that they say of people",
    "hosts.read": "See the hosts of the store, their builds, and what holds an upgrade back",
    "hosts.restart": "Restart hosts, one process after the other",
    "ledger.read": "See how far the ledger is copied, and what is in quarantine",
    "ledger.verify": "Prove the ledger, and bring accounts back into the live store",
    "ledger.close": "Close a month of the ledger",
    "ledger.drop": "Drop usage records and ledger entries of closed months, for good",
    "ledger.repair": "Resume a shard, replay or confirm what is in quarantine, accept lost answers",
    "audit.read": "See the audit trail",
    "tokens.read": "See tokens",
    "tokens.write": "Make, rotate and revoke tokens of others, with no role beyond one's own",
    "approvals.read": "See requests that wait for a second person",
    "approvals.decide": "Approve or reject what another person asked for",
}
"""Name -> what it allows."""

OPEN: Final = ""
"""In place of a permission: the operation needs no token."""
KNOWN: Final = "any token"
"""Likewise: any token will do."""

MOVE_AMOUNTS: Final = frozenset(
    {
        *("accounts.top-up", "accounts.adjust", "accounts.transfer", "accounts.refund", "accounts.correct"),
        *("accounts.pay-out", "accounts.write-off", "accounts.reverse", "accounts.close"),
        "accounts.merge",
    }
)
"""What a role may have limits of amounts for."""
ALONE: Final = frozenset(
    {
        *("accounts.import", "accounts.transfer", "approvals.decide", "charging.charge"),
        *("subscribers.write", "tokens.write", "traces.watch", "vouchers.export", "vouchers.redeem", "webhooks.write"),
    }
)
"""What cannot wait for a second person, besides all that only reads: a file of any length, the decision itself,
charging, what may be on its way (a transfer), and what is asked or answered with a password or a secret, which would be
kept for whoever looks."""
ALSO: Final = frozenset({"accounts.adjust-held", "accounts.give-credit", "accounts.make-debt"})
"""What allows more of an operation that needs another permission. It waits for a second person where that other one
does, so that alone it would be named in vain."""


def can_wait(permission: str) -> bool:
    """Whether the configuration may ask for a second person to approve what this permission allows."""
    return permission in PERMISSIONS and permission not in ALONE | ALSO and not permission.endswith(".read")


def unknown_patterns(patterns: Iterable[str]) -> list[str]:
    """Patterns (`accounts.*`, `*.read`, a name, `*`) that match no permission."""
    return [pattern for pattern in patterns if not matching((pattern,))]


def matching(patterns: Iterable[str]) -> frozenset[str]:
    """The permissions that any of the patterns names."""
    wanted = tuple(patterns)
    return frozenset(name for name in PERMISSIONS if any(covers(pattern, name) for pattern in wanted))


def covers(pattern: str, permission: str) -> bool:
    """Whether a pattern names this permission: each half is a word or `*`; `*` alone names all."""
    if pattern == "*":
        return True
    thing, _, verb = permission.partition(".")
    wanted_thing, dot, wanted_verb = pattern.partition(".")
    return bool(dot) and wanted_thing in ("*", thing) and wanted_verb in ("*", verb)
