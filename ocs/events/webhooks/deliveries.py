"""Deliveries as rows of PostgreSQL: made with the number of their webhook, kept until they have arrived or are
given up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from ocs.events import log
from ocs.events.webhooks import subscriptions
from ocs.events.webhooks.queue import Waiting
from ocs.events.webhooks.subscriptions import Webhook, consumer_of

KEPT_MS: Final = 86_400_000
"""How long one that has arrived is shown, where it is shown at all."""
DEAD_KEPT_MS: Final = 30 * 86_400_000
"""How long a dead letter can be sent again."""
PURGED_MAX: Final = 5_000

DeliveryState = Literal["waiting", "delivered", "dead"]
_COLUMNS: Final = (
    "seq, webhook, event, type, account, state, attempts, made_ms, failed_ms, next_ms, last_ms, answered, result"
)


class WebhookDelivery(Struct, frozen=True, kw_only=True):
    """By the columns of the table."""

    seq: int
    webhook: str
    event: str
    type: str
    account: str
    state: DeliveryState
    attempts: int
    made_ms: int
    failed_ms: int
    next_ms: int
    last_ms: int
    answered: bool
    result: str


class Made(Struct, frozen=True):
    """An event to be delivered."""

    event: str
    type: str
    account: str
    body: bytes


class AttemptOutcome(Struct, frozen=True):
    """What has become of a delivery at its last attempt."""

    seq: int
    state: DeliveryState
    attempts: int
    failed_ms: int
    next_ms: int
    last_ms: int
    answered: bool
    result: str


async def enqueue(pool: Any, webhook: Webhook, events: Sequence[Made], upto: int, now_ms: int) -> list[Waiting] | None:
    """Make deliveries of the events up to a number and move the webhook's number there, in one transaction: each event
    is made a delivery once. None: another process was faster, or the webhook is gone."""
    async with pool.acquire() as pg, pg.transaction():
        if not await subscriptions.hold(pg, webhook.id):
            return None
        if not await log.advance(pg, consumer_of(webhook.id), webhook.seq, upto):
            return None
        return await add(pg, webhook.id, events, now_ms)


async def add(pg: Any, webhook: str, events: Sequence[Made], now_ms: int) -> list[Waiting]:
    """Rows for these events, in order. In the caller's transaction."""
    if not events:
        return []
    rows = await pg.fetch(
        "INSERT INTO webhook_deliveries (webhook, event, type, account, body, made_ms)"
        " SELECT $1, e.event, e.type, e.account, e.body, $6 FROM"
        " unnest($2::text[], $3::text[], $4::text[], $5::bytea[]) WITH ORDINALITY e (event, type, account, body, n)"
        " ORDER BY e.n ON CONFLICT DO NOTHING RETURNING seq, event",
        webhook,
        [one.event for one in events],
        [one.type for one in events],
        [one.account for one in events],
        [one.body for one in events],
        now_ms,
    )
    by_id = {one.event: one for one in events}
    found = sorted((row["seq"], by_id[row["event"]]) for row in rows)
    return [Waiting(seq, one.event, one.account, one.type, one.body, now_ms) for seq, one in found]


async def waiting(pg: Any, webhook: str) -> list[Waiting]:
    """All that have not arrived, in order; what is waiting is bounded (ocs/events/webhooks/deliverer.py)."""
    rows = await pg.fetch(
        "SELECT seq, event, account, type, body, made_ms, attempts, failed_ms, next_ms, answered"
        " FROM webhook_deliveries WHERE webhook = $1 AND state = 'waiting' ORDER BY seq",
        webhook,
    )
    return [Waiting(*row) for row in rows]


async def settle(pg: Any, webhook: str, outcomes: Iterable[AttemptOutcome], *, shown: Iterable[int]) -> None:
    """Write what became of attempts. Those that arrived at the first one are deleted, but for `shown` (seq)."""
    keep = set(shown)
    over = [one.seq for one in outcomes if one.state == "delivered" and one.attempts <= 1 and one.seq not in keep]
    kept = [one for one in outcomes if one.seq not in set(over)]
    if over:
        await pg.execute(
            "DELETE FROM webhook_deliveries WHERE webhook = $1 AND state = 'waiting' AND seq = ANY($2)", webhook, over
        )
    if kept:
        await pg.execute(
            "UPDATE webhook_deliveries d SET state = o.state, attempts = o.attempts, failed_ms = o.failed_ms,"
            " next_ms = o.next_ms, last_ms = o.last_ms, answered = o.answered, result = o.result FROM"
            " unnest($2::bigint[], $3::text[], $4::int[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bool[],"
            " $9::text[]) o (seq, state, attempts, failed_ms, next_ms, last_ms, answered, result)"
            " WHERE d.webhook = $1 AND d.seq = o.seq AND d.state = 'waiting'",
            webhook,
            [one.seq for one in kept],
            [one.state for one in kept],
            [one.attempts for one in kept],
            [one.failed_ms for one in kept],
            [one.next_ms for one in kept],
            [one.last_ms for one in kept],
            [one.answered for one in kept],
            [one.result for one in kept],
        )


# --- what people ask


async def page(pg: Any, webhook: str, state: DeliveryState | None, after: int, limit: int) -> list[WebhookDelivery]:
    """In the order of the webhook."""
    rows = await pg.fetch(
        f"SELECT {_COLUMNS} FROM webhook_deliveries WHERE webhook = $1 AND ($2::text IS NULL OR state = $2)"
        " AND seq > $3 ORDER BY seq LIMIT $4",
        webhook,
        state,
        after,
        limit,
    )
    return [WebhookDelivery(**row) for row in rows]


async def get(pg: Any, webhook: str, event: str) -> WebhookDelivery | None:
    row = await pg.fetchrow(
        f"SELECT {_COLUMNS} FROM webhook_deliveries WHERE webhook = $1 AND event = $2", webhook, event
    )
    return WebhookDelivery(**row) if row else None


async def counts(pg: Any, webhooks: Sequence[str]) -> dict[tuple[str, str], int]:
    """How many deliveries there are, by webhook and state."""
    rows = await pg.fetch(
        "SELECT webhook, state, count(*) AS n FROM webhook_deliveries WHERE webhook = ANY($1) GROUP BY webhook, state",
        list(webhooks),
    )
    return {(row["webhook"], row["state"]): row["n"] for row in rows}


async def again(pg: Any, webhook: str, event: str | None, limit: int) -> int:
    """Let a dead letter (None: the oldest `limit`) be tried again, with its back-off from the beginning, and one
    that waits be tried at once. In the caller's transaction."""
    done = await pg.execute(
        "UPDATE webhook_deliveries SET attempts = CASE state WHEN 'dead' THEN 0 ELSE attempts END,"
        " failed_ms = CASE state WHEN 'dead' THEN 0 ELSE failed_ms END, next_ms = 0, state = 'waiting'"
        " WHERE webhook = $1 AND seq IN (SELECT seq FROM webhook_deliveries WHERE webhook = $1"
        "  AND CASE WHEN $2::text IS NULL THEN state = 'dead' ELSE event = $2 AND state <> 'delivered' END"
        "  ORDER BY seq LIMIT $3)",
        webhook,
        event,
        limit,
    )
    return int(done.rpartition(" ")[2])


async def hurry(pg: Any, webhook: str) -> None:
    """Let all that waits be tried at once."""
    await pg.execute("UPDATE webhook_deliveries SET next_ms = 0 WHERE webhook = $1 AND state = 'waiting'", webhook)


async def purge(pg: Any, now_ms: int) -> int:
    """Forget, a bounded number at a time, what arrived a day ago and dead letters that nobody sent again for 30
    days."""
    done = await pg.execute(
        "DELETE FROM webhook_deliveries WHERE (webhook, seq) IN (SELECT webhook, seq FROM webhook_deliveries"
        " WHERE state <> 'waiting' AND last_ms < CASE state WHEN 'delivered' THEN $1::bigint ELSE $2::bigint END"
        " AND last_ms < $1::bigint LIMIT $3 FOR UPDATE SKIP LOCKED)",
        now_ms - KEPT_MS,
        now_ms - DEAD_KEPT_MS,
        PURGED_MAX,
    )
    return int(done.rpartition(" ")[2])
