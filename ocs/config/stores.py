"""`[redis]`, `[postgres]`, `[upgrade]`: the two stores, and the step to a newer stored format."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from balances.ledger.risk_names import StoreRisk
from balances.postgres import hosts, named
from balances.redis.address import StoreAddress
from balances.redis.replicas import ReplicaPromise
from ocs.config.table import ConfigTable
from ocs.config.values import EMBEDDED, Secret, missing_in


class RedisConfig(ConfigTable, frozen=True):
    url: Secret = Secret(EMBEDDED)
    """`embedded`: a Valkey of ours in the data directory."""
    memory_bytes_max: Annotated[int, Meta(ge=64 << 20, le=1 << 43)] = 1 << 30
    """Of the embedded one: full, it refuses; it never forgets a balance."""
    replicas: Annotated[int, Meta(ge=1, le=10)] = 1
    """With durability `replicated`: so many have a call before it is answered."""
    replicas_on_disk: bool = False
    """They have it on disk, and so has the primary; else in memory. Redis 7.2 or later, or Valkey."""
    accept_risks: tuple[StoreRisk, ...] = ()
    """Settings of the store that lose money and are wanted all the same; each is an alarm for as long as it lasts."""

    def __post_init__(self) -> None:
        if self.embedded:
            return
        try:
            address = StoreAddress(self.url.reveal())
        except ValueError as why:
            raise ValueError(f"url {why}{', or `embedded`' if str(why).startswith('as one of') else ''}") from None
        if len(address.places) > 1 and address.kind == "plain":
            raise ValueError(
                "url of one server, or as redis+sentinel://SENTINEL,SENTINEL/SERVICE or redis+cluster://NODE,NODE: of"
                " several plain servers nobody says which one is the primary, and two may take themselves for it"
            )

    @property
    def embedded(self) -> bool:
        return self.url.reveal() == EMBEDDED

    @property
    def promise(self) -> ReplicaPromise:
        """Of replicas, with durability `replicated`."""
        return ReplicaPromise(self.replicas, self.replicas_on_disk)


class PostgresConfig(ConfigTable, frozen=True):
    dsn: Secret = Secret(EMBEDDED)
    """`embedded`: a PostgreSQL of ours in the data directory."""
    connections_max: Annotated[int, Meta(ge=2, le=100)] = 8
    """Of each process that uses it (keeper, api), which has one more to listen on."""

    def __post_init__(self) -> None:
        if self.embedded:
            return
        scheme = self.dsn.reveal().partition("://")[0]
        if scheme not in ("postgres", "postgresql"):
            raise ValueError("dsn as postgresql://..., or `embedded`")
        missing = missing_in(self.dsn.reveal())
        if missing:
            raise ValueError(f"dsn with {missing}")
        if not all(named(host.dsn) for host in hosts(self.dsn.reveal())):
            raise ValueError("dsn with a host between its commas")

    @property
    def embedded(self) -> bool:
        return self.dsn.reveal() == EMBEDDED


class Upgrade(ConfigTable, frozen=True):
    """The step to a newer stored format (docs/operations/upgrade.md)."""

    after_s: Annotated[int, Meta(ge=0, le=90 * 86_400)] = 3_600
    """How long all hosts have to read the newer format before it is written: until then one may go back to the build
    before."""
