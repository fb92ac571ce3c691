"""The configuration: one frozen tree. `ocs.config.load` reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ocs.charging.radius.own_attributes import refused_of
from ocs.config.access import Access
from ocs.config.backoffice import FeeRuns, Ledger, Transfers, VoucherRules
from ocs.config.charging import Charging, Enforcement
from ocs.config.diameter import Diameter
from ocs.config.events import EventsConfig, Webhooks
from ocs.config.host import HostConfig, LogConfig, Metrics, cores, workers_for
from ocs.config.http import Http
from ocs.config.radius import Radius
from ocs.config.stores import PostgresConfig, RedisConfig, Upgrade
from ocs.config.table import ConfigTable
from ocs.config.values import Secret, key_of


class Config(ConfigTable, frozen=True):
    data: Path = Path("ocs-data")
    demo: bool = False
    workers: Annotated[int, Meta(ge=1, le=256)] = msgspec.field(default_factory=lambda: workers_for(cores()))
    durability: Literal["always", "everysec", "replicated"] = "always"
    open_without_postgres: bool = False
    sealing_keys: tuple[Secret, ...] = ()
    """Keys for secrets in PostgreSQL (ocs/master/sealing.py), the newest first: each 32 octets in hex or base64, best
    `file:`. None: with the embedded PostgreSQL a key in the data directory; else passwords are hashed (PAP only)."""
    host: HostConfig = HostConfig()
    diameter: Diameter = Diameter()
    radius: Radius = Radius()
    http: Http = Http()
    access: Access = Access()
    transfers: Transfers = Transfers()
    vouchers: VoucherRules = VoucherRules()
    fees: FeeRuns = FeeRuns()
    webhooks: Webhooks = Webhooks()
    metrics: Metrics = Metrics()
    redis: RedisConfig = RedisConfig()
    postgres: PostgresConfig = PostgresConfig()
    charging: Charging = Charging()
    enforcement: Enforcement = Enforcement()
    ledger: Ledger = Ledger()
    upgrade: Upgrade = Upgrade()
    events: EventsConfig = EventsConfig()
    log: LogConfig = LogConfig()

    def __post_init__(self) -> None:
        if "keeper" not in self.host.roles and (self.redis.embedded or self.postgres.embedded):
            raise ValueError(
                "host.roles: without keeper nobody opens embedded stores; set redis.url and postgres.dsn to those that"
                " a host with a keeper uses"
            )
        for name, keys in (("sealing_keys", self.sealing_keys), ("vouchers.keys", self.vouchers.keys)):
            for number, one in enumerate(keys):
                try:
                    key_of(one.reveal())
                except ValueError as why:
                    raise ValueError(f"{name}[{number}]: expected {why}") from None
        told = [row for row in self.charging.table().rows if row.subscriber_defaults]
        vendors = self.radius.vendors if told else {}
        for row in told:
            if (refused := refused_of(row.subscriber_defaults, vendors.values())) is not None:
                raise ValueError(f"charging.services.{row.name}.subscriber_defaults.{refused[0]}: {refused[1]}")
        diameter = {"diameter.listen": self.diameter.listen, "diameter.tls_listen": self.diameter.tls_listen}
        if self.durability == "replicated" and self.redis.embedded:
            raise ValueError("durability: expected always or everysec: the embedded Valkey has no replicas")
        if self.durability != "replicated" and self.redis.replicas_on_disk:
            raise ValueError("redis.replicas_on_disk: expected durability = replicated: else no replica is waited for")
        listeners = {**diameter, "http.listen": self.http.listen, "metrics.listen": self.metrics.listen}
        taken: dict[str, str] = {}
        for name, address in listeners.items():
            if address and address.port and taken.setdefault(address, name) != name:
                raise ValueError(f"{name}: expected an address of its own, but {address} is {taken[address]} too")
