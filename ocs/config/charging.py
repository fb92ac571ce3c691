"""`[charging]`, `[enforcement]`: what is granted, and how the network is made to obey the balance."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ocs.charging.services import QUOTAS, Amount, ServiceQuota, Services, service_table
from ocs.config.table import ConfigTable, Seconds
from tariffs.units import EXACT_MAX


class QuotaConfig(ConfigTable, frozen=True):
    """What is granted of one unit: when nothing is named, at least, at most. What is not said here is as
    ocs/charging/services.py has it."""

    default: Amount | UnsetType = UNSET
    minimum: Amount | UnsetType = UNSET
    maximum: Amount | UnsetType = UNSET


class Quotas(ConfigTable, frozen=True):
    octets: QuotaConfig = QuotaConfig()
    seconds: QuotaConfig = QuotaConfig()
    units: QuotaConfig = QuotaConfig()
    money: QuotaConfig = QuotaConfig()
    """Micro-units."""

    def __post_init__(self) -> None:
        for unit, said in self.said().items():
            try:
                ServiceQuota(**{**QUOTAS[unit], **said})
            except ValueError as why:
                raise ValueError(f"{unit}: {why}") from None

    def said(self) -> dict[str, dict[str, int]]:
        """The amounts that were given, by unit."""
        found: dict[str, dict[str, int]] = msgspec.to_builtins(self)
        return {unit: amounts for unit, amounts in found.items() if amounts}


class Charging(ConfigTable, frozen=True):
    validity_s: Seconds = 600
    validity_jitter: Annotated[float, Meta(ge=0.0, le=0.5)] = 0.1
    """Part by which a Validity-Time is shortened at random, so that boundaries make no storm."""
    quota: Quotas = Quotas()
    services: dict[str, dict[str, Any]] = {}
    """What a row of ocs/charging/services.py says otherwise, by its name; a new name is a new row."""
    overrun_factor: Annotated[int, Meta(ge=1, le=1_000)] = 10
    """Reported use beyond this many times the grant (the maximum quota, if more) is set aside, with an alarm."""
    identity_order: tuple[Literal["msisdn", "imsi", "sip", "nai", "private", "username", "mac"], ...] = (
        "msisdn",
        "imsi",
        "sip",
        "nai",
        "private",
        "username",
        "mac",
    )
    """Which identity of a request is looked up first."""
    remember_s: Annotated[int, Meta(ge=60, le=7 * 86_400)] = 3_600
    """How long answers of a closed session or an event are kept in Redis."""
    answer_ms_max: Annotated[int, Meta(ge=10, le=60_000)] = 800
    """In which an answer is due: admission aims at half of it, and a call whose reply was lost is sent again until
    then. A late answer goes out all the same."""
    refund_free_micro: Annotated[int, Meta(ge=0, le=EXACT_MAX)] = 0
    """Largest refund without its original; 0: none."""
    profiles_max: Annotated[int, Meta(ge=100, le=10_000_000)] = 50_000
    """Subscribers a worker keeps at hand (about 1 kB each)."""
    templates_max: Annotated[int, Meta(ge=0, le=1_000_000)] = 20_000
    """What a process knows by heart, so that what is like it costs less: kinds of requests (about 6 kB each), and who
    and what sessions are about (about 3 kB each); 0: nothing."""

    def __post_init__(self) -> None:
        try:
            self.table()
        except ValueError as why:
            raise ValueError(f"services.{why}") from None  # which says the key below that too

    def table(self) -> Services:
        """The services in force."""
        defaults = {"validity_s": self.validity_s, "refund_free_micro": self.refund_free_micro}
        return service_table(defaults | self.quota.said(), self.services)


class Enforcement(ConfigTable, frozen=True):
    """How the network is made to obey the balance (docs/enforcement.md)."""

    peer_rate: Annotated[int, Meta(ge=1, le=100_000)] = 200
    """RAR and ASR a second to one peer, at most: what is more waits its turn."""
    peer_window: Annotated[int, Meta(ge=1, le=1_000)] = 50
    """Of these without an answer."""
    jobs_max: Annotated[int, Meta(ge=100, le=10_000_000)] = 100_000
    """Open at once; what else is due is looked at when there is room."""
    return_s: Seconds = 30
    """A client that has agreed to report has so long to do it."""
    escalate: bool = True
    """Then, or where it refuses, its session is ended (ASR) if its account is suspended or serves it no more."""
    kept_s: Seconds = 7 * 86_400
    """How long jobs that have ended are listed."""
