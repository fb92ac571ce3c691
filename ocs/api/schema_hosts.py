"""What the API says about the hosts that work on one store."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from ocs.api.schema import Input, Text
from ocs.api.texts import Money, Time


class HostProcessView(Struct, frozen=True):
    process: str
    """`worker 0`"""
    ready: bool
    why: str
    """Why not."""
    build: str


class HostView(Struct, frozen=True):
    name: str
    run: str
    """Of one `ocs run`, drawn at its start."""
    state: Literal["ready", "not ready", "lost"]
    """`lost`: nothing was heard of it for longer than its lease."""
    why: str
    since: Time
    lost_s: int
    roles: list[str]
    build: str
    """Version, and a digest of the sources."""
    reads_formats: list[int]
    """The oldest and the newest stored format that all its processes read."""
    libraries: list[str]
    http: str
    """Where its API is, "" where it has none."""
    peers: list[str]
    """Origin-Hosts that are connected."""
    radius_clients: list[str]
    """Heard since its start."""
    processes: list[HostProcessView]
    restart: Literal["", "asked", "begun"]
    """A rolling restart that is under way."""
    restart_said: str
    """What came of the last one."""


class StoredFormatView(Struct, frozen=True):
    written: int
    announced: int
    """The next one, about to be written; the same as `written` while there is none."""
    since: Time | None
    newest: int
    """That any host reads."""
    held_back: list[str]
    """Who does not read the one after `written`, while any host does."""
    migration: int
    """The newest one that PostgreSQL has."""
    migration_needed: int
    """A build that knows this one, or a later one, can start on that database."""
    migration_known: int
    """The newest one that the build which answers knows."""


class ShardsView(Struct, frozen=True):
    lag_entries: int
    """Records that are not in PostgreSQL yet."""
    oldest: Time | None
    stopped: list[int]
    """Shards that are not copied until a person has looked."""
    quarantined: int
    """Accounts."""


class AtStakeView(Struct, frozen=True):
    total: dict[str, Money]
    """By currency, as `total` of `GET /v1/exposure`."""
    complete: bool
    """False: `total` is of some: there are more open sessions than were read, or a part could not be read."""
    at: Time
    """It is looked at again when it is asked for after a minute."""
    unheld: dict[str, Money]
    """Charged in the last 24 hours for use that nothing was held for; not in the total (`GET /v1/exposure`)."""
    unknown: list[str]
    """What could not be read then."""


class StoreStatusView(Struct, frozen=True):
    hosts: list[HostView]
    """None while PostgreSQL does not answer, which alone knows them: `unknown` says so."""
    format: StoredFormatView | None
    """Null likewise."""
    shards: ShardsView | None
    """Null: a store does not answer."""
    at_stake: AtStakeView | None
    """Null: the caller lacks the permission `ledger.read`, or no store answers."""
    here: dict[str, str]
    """Stores and processes as the host that answers sees them, as `/readyz` says: `ok`, or what is wrong."""
    unknown: list[str]
    """What could not be read within seconds, each with why."""


class RestartHosts(Input, frozen=True):
    hosts: tuple[Text, ...] = ()
    """Names; none: all of them."""


class RestartedHosts(Struct, frozen=True):
    hosts: list[str]
    """Those that will restart, one after the other."""
