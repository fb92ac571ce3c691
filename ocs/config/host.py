"""`[host]`, `[metrics]`, `[log]`: the processes of this host, and what they say of themselves."""

from __future__ import annotations

import os
from typing import Annotated, Final, Literal

from msgspec import Meta

from ocs.config.table import ConfigTable
from ocs.config.values import Listen

HostRole = Literal["worker", "api", "keeper"]
ROLES: Final[tuple[HostRole, ...]] = ("worker", "api", "keeper")


def cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0))


def workers_for(cores: int) -> int:
    """One core is for the live store, whose one thread all workers wait for. At least two: one can restart or be busy
    with a slow path while the other answers."""
    return max(2, min(cores - 1, 256))


class HostConfig(ConfigTable, frozen=True):
    """One of the hosts that may share a store (docs/operations/hosts.md)."""

    name: Annotated[str, Meta(max_length=255)] = ""
    """"": the machine's."""
    roles: Annotated[tuple[HostRole, ...], Meta(min_length=1)] = ROLES
    """Which processes run here: all serve one store, whichever host they run on."""
    notice_s: Annotated[int, Meta(ge=0, le=600)] = 0
    """How long /readyz says that it stops before it does: for balancers to send nothing more."""

    def __post_init__(self) -> None:
        if len(set(self.roles)) != len(self.roles):
            raise ValueError("roles: each once")


class Metrics(ConfigTable, frozen=True):
    listen: Listen = Listen("127.0.0.1:9464")


class LogConfig(ConfigTable, frozen=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"
    """auto: text on a terminal, else JSON."""
