"""`[events]`, `[webhooks]`: what the world is told, and by what."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from balances.redis.address import KINDS, StoreAddress, is_plain
from ocs.config.table import ConfigTable, Seconds
from ocs.config.values import Secret, networks
from ocs.events.types import unknown_types


class EventsRedis(ConfigTable, frozen=True):
    """Events into a Redis stream; docs/events.md."""

    url: Secret = Secret("off")
    """`off`, or of a server, a cluster or Sentinels of yours, as in `redis.url`: not the live store, which has no room
    for it."""
    stream: Annotated[str, Meta(min_length=1, max_length=255)] = "ocs:events"
    maxlen: Annotated[int, Meta(ge=1_000, le=100_000_000)] = 100_000
    """About so many entries are kept."""
    types: tuple[str, ...] = ()
    """As in a filter of subscriptions; empty: all but those that have to be named."""

    def __post_init__(self) -> None:
        url = self.url.reveal()
        scheme = url.partition("://")[0]
        if url != "off" and scheme not in KINDS:
            raise ValueError(f"url as one of {', '.join(f'{one}://' for one in KINDS)}, or `off`")
        if url != "off" and not is_plain(url):
            try:
                StoreAddress(url)
            except ValueError as why:
                raise ValueError(f"url {why}") from None
        unknown = unknown_types(self.types)
        if unknown:
            raise ValueError(f"types that exist (docs/events.md), not {', '.join(unknown)}")

    @property
    def off(self) -> bool:
        return self.url.reveal() == "off"


class EventsConfig(ConfigTable, frozen=True):
    keep_days: Annotated[int, Meta(ge=1, le=366)] = 7
    """Events are kept so long, and longer while a consumer is not done with them."""
    behind_alarm_s: Seconds = 3_600
    """A consumer whose oldest event is older than this is an alarm."""
    followers_max: Annotated[int, Meta(ge=1, le=10_000)] = 100
    """Who may follow server-sent events at once."""
    expiring_soon_s: Seconds = 259_200
    """So long before its end a bucket is `bucket.expiring`."""
    redis: EventsRedis = EventsRedis()


class Webhooks(ConfigTable, frozen=True):
    """Delivery of events to webhooks (docs/webhooks.md)."""

    allow_private: tuple[str, ...] = ()
    """Addresses or networks that are called although they are not public: loopback, private, link-local ..."""
    allow_http: bool = False
    """http:// too, which shows the events to everybody on the way."""
    tls_ca: str = ""
    """PEM file with the authorities of receivers' certificates; empty: those of the system."""
    timeout_s: Annotated[int, Meta(ge=1, le=120)] = 15
    """For an attempt, from looking up the name to the status."""
    in_flight_max: Annotated[int, Meta(ge=1, le=64)] = 8
    """Attempts at once, of one webhook."""
    webhooks_max: Annotated[int, Meta(ge=1, le=1_000)] = 100
    order_s: Seconds = 600
    """How long a failing delivery holds up the later ones of its account."""
    pause_s: Seconds = 900
    """A webhook is paused, with an alarm, when its receiver has been failing for so long."""

    def __post_init__(self) -> None:
        networks(self.allow_private)
