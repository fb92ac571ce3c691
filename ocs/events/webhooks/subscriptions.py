"""Webhooks as rows of PostgreSQL: where events go, with which secrets, and whether anything is sent.

What one wants (types, accounts, services) and how far it is, is its row among the consumers of events
(ocs/events/log.py), written in the same transactions.

Who writes locks first the webhook, then its consumer, then its deliveries: so nobody waits for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from balances.ledger.event_filter import EventFilter
from ocs.events import log
from ocs.events.webhooks.forms import WebhookForm
from ocs.events.webhooks.queue import PausedFor

KIND: Final = "webhook"
_COLUMNS: Final = (
    "w.id, w.url, w.description, w.secret, w.old_secret, w.old_until_ms, w.paused_for, w.why, w.failing_ms,"
    " w.delivered, w.delivered_ms, w.version, w.touched, w.created_ms, w.created_by, w.form"
)


class Webhook(Struct, frozen=True, kw_only=True):
    """By the columns of the table, and the filter of its consumer. Times in Unix milliseconds, 0: never."""

    id: str
    url: str
    description: str = ""
    secret: str
    """Sealed, as the one before."""
    old_secret: str | None = None
    old_until_ms: int = 0
    paused_for: PausedFor = ""
    why: str = ""
    failing_ms: int = 0
    delivered: int = 0
    delivered_ms: int = 0
    version: int = 1
    touched: int = 1
    created_ms: int
    created_by: str
    form: WebhookForm = "cloudevents"
    filter: EventFilter
    seq: int = 0
    """Last event that its deliveries are made of."""

    def valid_secrets(self, now_ms: int) -> list[str]:
        """Those that sign now, as they are here: its own first, then the one before while both are valid."""
        old = [self.old_secret] if self.old_secret and now_ms < self.old_until_ms else []
        return [self.secret, *old]


def consumer_of(webhook: str) -> str:
    """Its name among those who read events."""
    return f"{KIND}:{webhook}"


async def page(pg: Any, after: str = "", limit: int = 1_000) -> list[Webhook]:
    """In the order of ids."""
    rows = await pg.fetch(
        f"SELECT {_COLUMNS}, c.types, c.accounts, c.services, c.seq FROM webhooks w JOIN event_consumers c"
        f" ON c.name = '{KIND}:' || w.id WHERE w.id > $1 ORDER BY w.id LIMIT $2",
        after,
        limit,
    )
    return [_webhook(row) for row in rows]


async def get(pg: Any, webhook: str, *, lock: bool = False) -> Webhook | None:
    """lock: for a change in the caller's transaction."""
    row = await pg.fetchrow(
        f"SELECT {_COLUMNS}, c.types, c.accounts, c.services, c.seq FROM webhooks w JOIN event_consumers c"
        f" ON c.name = '{KIND}:' || w.id WHERE w.id = $1{' FOR NO KEY UPDATE OF w' if lock else ''}",
        webhook,
    )
    return _webhook(row) if row else None


def _webhook(row: Any) -> Webhook:
    found = dict(row)
    wanted = EventFilter(*(tuple(found.pop(name)) for name in ("types", "accounts", "services")))
    return Webhook(**found, filter=wanted)


async def count(pg: Any) -> int:
    return int(await pg.fetchval("SELECT count(*) FROM webhooks"))


async def insert(pg: Any, new: Webhook) -> bool:
    """Enter one, which begins with what happens from now on. False: there is one of this id. In the caller's
    transaction."""
    made = await pg.execute(
        "INSERT INTO webhooks (id, url, description, secret, created_ms, created_by, form)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)"
        " ON CONFLICT DO NOTHING",
        new.id,
        new.url,
        new.description,
        new.secret,
        new.created_ms,
        new.created_by,
        new.form,
    )
    if made == "INSERT 0 0":
        return False
    await log.subscribe(pg, consumer_of(new.id), KIND, new.filter)
    return True


async def change(pg: Any, now: Webhook) -> Webhook:
    """Write what people may change of one that is locked, in the caller's transaction; returns it in its new
    version."""
    await pg.execute(
        "UPDATE webhooks SET url = $2, description = $3, secret = $4, old_secret = $5, old_until_ms = $6,"
        " paused_for = $7, why = $8, failing_ms = $9, version = version + 1, touched = touched + 1 WHERE id = $1",
        now.id,
        now.url,
        now.description,
        now.secret,
        now.old_secret,
        now.old_until_ms,
        now.paused_for,
        now.why,
        now.failing_ms,
    )
    await log.subscribe(pg, consumer_of(now.id), KIND, now.filter)
    changed = await get(pg, now.id)
    assert changed is not None
    return changed


async def touch(pg: Any, webhook: str) -> None:
    """Let who delivers read its deliveries again."""
    await pg.execute("UPDATE webhooks SET touched = touched + 1 WHERE id = $1", webhook)


async def hold(pg: Any, webhook: str) -> bool:
    """Keep it from being deleted until the caller's transaction ends. False: it is gone."""
    return bool(await pg.fetchval("SELECT true FROM webhooks WHERE id = $1 FOR KEY SHARE", webhook))


async def delete(pg: Any, webhook: str) -> None:
    """With all its deliveries, those that wait too. In the caller's transaction."""
    await pg.execute("DELETE FROM webhooks WHERE id = $1", webhook)
    await log.unsubscribe(pg, consumer_of(webhook))


class ReceiverHealth(Struct, frozen=True):
    """What who delivers knows of a receiver."""

    paused_for: PausedFor
    why: str
    failing_ms: int
    delivered: int = 0
    """More than before."""
    delivered_ms: int = 0


async def note(pg: Any, webhook: str, version: int, health: ReceiverHealth) -> bool:
    """Write it, unless a person has changed the webhook since it was read in this version: then only the count."""
    await pg.execute(
        "UPDATE webhooks SET delivered = delivered + $2, delivered_ms = greatest(delivered_ms, $3) WHERE id = $1",
        webhook,
        health.delivered,
        health.delivered_ms,
    )
    done = await pg.execute(
        "UPDATE webhooks SET paused_for = $3, why = $4, failing_ms = $5 WHERE id = $1 AND version = $2",
        webhook,
        version,
        health.paused_for,
        health.why,
        health.failing_ms,
    )
    return bool(done == "UPDATE 1")


def names(webhooks: Sequence[Webhook]) -> str:
    """For people, in one line."""
    return ", ".join(one.id for one in webhooks)
