"""Webhooks: who is told of events, and what became of it (docs/webhooks.md)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Struct, structs

from balances.ledger.event_filter import EventFilter
from balances.ledger.events import EventRow
from ocs.backoffice.errors import Conflict, Invalid, NotFound, Unresolved
from ocs.config.values import networks
from ocs.events import log
from ocs.events.event import event_of
from ocs.events.types import unknown_types
from ocs.events.webhooks import deliveries, subscriptions
from ocs.events.webhooks.addresses import refused_url
from ocs.events.webhooks.deliverer import TEST_TYPE
from ocs.events.webhooks.deliveries import DeliveryState, Made, WebhookDelivery
from ocs.events.webhooks.forms import FORMS, WebhookForm
from ocs.events.webhooks.signing import new_secret
from ocs.events.webhooks.subscriptions import Webhook

if TYPE_CHECKING:
    from ocs.backoffice.backoffice import BackOffice
    from ocs.master.changes import Expect

RETRIED_MAX: Final = 500
"""Dead letters that are sent again at a time."""


class WebhookState(NamedTuple):
    """A webhook with the numbers of its deliveries."""

    webhook: Webhook
    waiting: int
    dead: int
    secret: str | None = None
    """Where it was made just now."""


class WantedWebhook(Struct, frozen=True, kw_only=True):
    """What people say of a webhook; None: as it is."""

    url: str | None = None
    description: str | None = None
    types: Sequence[str] | None = None
    accounts: Sequence[str] | None = None
    services: Sequence[str] | None = None

    def apply(self, to: Webhook) -> Webhook:
        def kept(new: Sequence[str] | None, old: tuple[str, ...]) -> tuple[str, ...]:
            return old if new is None else tuple(dict.fromkeys(new))

        was = to.filter
        wanted = EventFilter(
            kept(self.types, was.types), kept(self.accounts, was.accounts), kept(self.services, was.services)
        )
        url = to.url if self.url is None else self.url
        description = to.description if self.description is None else self.description
        return structs.replace(to, url=url, description=description, filter=wanted)


async def create(
    backoffice: BackOffice,
    id_: str,
    wanted: WantedWebhook,
    *,
    after: str | None,
    actor: str,
    form: WebhookForm = "cloudevents",
) -> WebhookState:
    """Enter a webhook that gets what happens from now on, or after an event. Its secret is in what is returned, and
    is shown at no other time."""
    await _check(backoffice, wanted)
    secret = new_secret()
    blank = Webhook(
        id=id_,
        url="",
        secret=_sealed(backoffice, secret, id_),
        created_ms=backoffice.now_ms(),
        created_by=actor,
        form=form,
        filter=EventFilter(),
    )
    new = wanted.apply(blank)
    async with backoffice.pool.acquire() as pg, pg.transaction():
        most = backoffice.webhooks.webhooks_max
        if await subscriptions.count(pg) >= most:
            raise Conflict(f"there are {most} webhooks: as many as webhooks.webhooks_max allows")
        if not await subscriptions.insert(pg, new):
            raise Conflict(f"there is a webhook {id_} already")
        if after is not None:
            made = await _get(pg, id_)
            number = await log.number_of(pg, after)
            if number is None:
                raise Unresolved(f"after: no event {after} is kept")
            await log.advance(pg, subscriptions.consumer_of(id_), made.seq, number)
        return WebhookState(await _get(pg, id_), 0, 0, secret)


async def get(backoffice: BackOffice, id_: str) -> WebhookState:
    return (await _counted(backoffice, [await _get(backoffice.pool, id_)]))[0]


async def page(backoffice: BackOffice, after: str, limit: int) -> Sequence[WebhookState]:
    return await _counted(backoffice, await subscriptions.page(backoffice.pool, after, limit))


async def change(backoffice: BackOffice, id_: str, wanted: WantedWebhook, expect: Expect) -> WebhookState:
    """Change what it wants or where it is; what waits goes to the new URL."""
    await _check(backoffice, wanted)
    return await _changed(backoffice, id_, wanted.apply, expect)


async def delete(backoffice: BackOffice, id_: str, expect: Expect, form: WebhookForm | None = None) -> None:
    """Forgets it, and what has not arrived. form: that it has to have, else there is none"""
    async with _locked(backoffice, id_) as (pg, was):
        if form not in (None, was.form):
            raise NotFound(f"there is no subscription {id_}")
        expect(was.version)
        await subscriptions.delete(pg, id_)


async def rotate_secret(backoffice: BackOffice, id_: str, overlap_s: int) -> WebhookState:
    """A new secret. The one before signs too for so long; one before that no longer."""
    until_ms = backoffice.now_ms() + overlap_s * 1_000
    secret = new_secret()
    sealed = _sealed(backoffice, secret, id_)

    def rotated(was: Webhook) -> Webhook:
        old = (was.secret, until_ms) if overlap_s else (None, 0)
        return structs.replace(was, secret=sealed, old_secret=old[0], old_until_ms=old[1])

    return (await _changed(backoffice, id_, rotated))._replace(secret=secret)


async def pause(backoffice: BackOffice, id_: str) -> WebhookState:
    """Nothing is sent until somebody resumes it; events wait."""
    return await _changed(
        backoffice, id_, lambda was: structs.replace(was, paused_for="person", why="paused by hand", failing_ms=0)
    )


async def resume(backoffice: BackOffice, id_: str) -> WebhookState:
    """Send again, at once, whatever it was paused for."""
    async with _locked(backoffice, id_) as (pg, was):
        now = await subscriptions.change(pg, structs.replace(was, paused_for="", why="", failing_ms=0))
        await deliveries.hurry(pg, id_)
    return (await _counted(backoffice, [now]))[0]


# --- deliveries


async def test(backoffice: BackOffice, id_: str, number: str) -> WebhookDelivery:
    """Send an event of type `webhook.test`, whatever it wants else; `number` makes its id."""
    now_ms = backoffice.now_ms()
    async with _locked(backoffice, id_) as (pg, was):
        if not FORMS[was.form].tells(TEST_TYPE):
            raise Conflict(f"the form {was.form} has no such event: do something that it is told")
        row = EventRow(f"{TEST_TYPE}:{number}", TEST_TYPE, "", "", id_, now_ms, "{}")
        body = event_of(row, await log.source(pg)).json()
        await deliveries.add(pg, id_, [Made(row.id, TEST_TYPE, "", body)], now_ms)
        await subscriptions.touch(pg, id_)
        made = await deliveries.get(pg, id_, row.id)
    assert made is not None
    return made


async def delivery(backoffice: BackOffice, id_: str, event: str) -> WebhookDelivery:
    await _get(backoffice.pool, id_)
    found = await deliveries.get(backoffice.pool, id_, event)
    if found is None:
        raise NotFound(f"no delivery of event {event} to it is kept: what arrived at the first attempt is not")
    return found


async def delivery_page(
    backoffice: BackOffice, id_: str, state: DeliveryState | None, after: int, limit: int
) -> Sequence[WebhookDelivery]:
    await _get(backoffice.pool, id_)
    return await deliveries.page(backoffice.pool, id_, state, after, limit)


async def retry(backoffice: BackOffice, id_: str, event: str) -> WebhookDelivery:
    """Send a dead letter again, or what waits at once."""
    async with _locked(backoffice, id_) as (pg, _):
        found = await deliveries.get(pg, id_, event)
        if found is None:
            raise NotFound(f"no delivery of event {event} to it is kept")
        if found.state == "delivered":
            raise Conflict("it has arrived already")
        await deliveries.again(pg, id_, event, 1)
        await subscriptions.touch(pg, id_)
        now = await deliveries.get(pg, id_, event)
    assert now is not None
    return now


async def retry_dead(backoffice: BackOffice, id_: str) -> int:
    """Send dead letters again, the oldest RETRIED_MAX; returns how many."""
    async with _locked(backoffice, id_) as (pg, _):
        done = await deliveries.again(pg, id_, None, RETRIED_MAX)
        await subscriptions.touch(pg, id_)
    return done


# --- inside


def _sealed(backoffice: BackOffice, secret: str, id_: str) -> str:
    if not backoffice.secrets.possible:
        raise Conflict("its secret cannot be kept: configure `sealing_keys`")
    return backoffice.secrets.sealed(secret, id_)


async def _get(pg: Any, id_: str, *, lock: bool = False) -> Webhook:
    found = await subscriptions.get(pg, id_, lock=lock)
    if found is None:
        raise NotFound(f"there is no webhook {id_}")
    return found


@contextlib.asynccontextmanager
async def _locked(backoffice: BackOffice, id_: str) -> AsyncIterator[tuple[Any, Webhook]]:
    async with backoffice.pool.acquire() as pg, pg.transaction():
        yield pg, await _get(pg, id_, lock=True)


async def _changed(
    backoffice: BackOffice, id_: str, make: Callable[[Webhook], Webhook], expect: Expect | None = None
) -> WebhookState:
    async with _locked(backoffice, id_) as (pg, was):
        if expect is not None:
            expect(was.version)
        now = await subscriptions.change(pg, make(was))
    return (await _counted(backoffice, [now]))[0]


async def _counted(backoffice: BackOffice, webhooks: Sequence[Webhook]) -> list[WebhookState]:
    counts = await deliveries.counts(backoffice.pool, [one.id for one in webhooks])
    return [WebhookState(one, counts.get((one.id, "waiting"), 0), counts.get((one.id, "dead"), 0)) for one in webhooks]


async def _check(backoffice: BackOffice, wanted: WantedWebhook) -> None:
    settings = backoffice.webhooks
    if wanted.url is not None:
        allowed = networks(settings.allow_private)
        if why := refused_url(wanted.url, allow_http=settings.allow_http, allowed=allowed):
            raise Invalid("url", why if why.endswith("allow_private)") else f"expected {why}")
    if unknown := unknown_types(wanted.types or ()):
        raise Invalid("types", f"no type of event is called {', '.join(unknown)} (docs/events.md lists them)")
    if wanted.services:
        known = (await backoffice.context()).settings.services.by_name
        if strange := [one for one in wanted.services if one not in known]:
            raise Invalid("services", f"there is no service {', '.join(strange)}; there are {', '.join(known)}")
