"""The waist between protocols and charging: every protocol becomes a ChargingRequest and is answered from a
ChargingAnswer. Spec words stop here (house.md, section 3)."""

from __future__ import annotations

from enum import Enum

import msgspec

from balances.ops import Action, Phase, Result
from tariffs.inputs import Inputs


class Style(Enum):
    """Where the units stood in the request; the answer uses the same place."""

    COMMAND = "command"
    """At command level: a single-service CCR (RFC 8506 section 3.1)."""
    LINES = "lines"
    """In Multiple-Services-Credit-Control."""


class Units(msgspec.Struct, frozen=True):
    """An amount in each unit; None where none was given. Money in micro-units of `currency`."""

    money: int | None = None
    octets: int | None = None
    seconds: int | None = None
    units: int | None = None
    currency: int | None = None
    """ISO 4217 number that came with `money`."""


class Used(msgspec.Struct, frozen=True):
    """One reported piece of use."""

    units: Units
    after_change: bool | None = None
    """Tariff-Change-Usage: False before, True after the announced change, None where not said."""
    indeterminate: bool = False


class Reason(Enum):
    """Why the client reports, as far as charging treats it differently."""

    OTHER = "other"
    FINAL = "final"
    """The service is over: no grant."""
    IDLE = "idle"
    """Quota-Holding-Time ran out: release, grant only if asked."""


class AskedLine(msgspec.Struct, frozen=True):
    """One rating group + service identifier, as asked."""

    rating_group: int | None
    service_id: int | None
    requested: Units | None
    """None: nothing wanted. All fields None: wanted, amount and unit are ours to choose."""
    used: tuple[Used, ...] = ()
    reason: Reason = Reason.OTHER


class ChargingRequest(msgspec.Struct, frozen=True):
    """One request of a network element."""

    peer: str
    """Origin-Host of the client."""
    realm: str
    via: str
    """Identity of the directly connected peer."""
    session: str
    sub_session: int | None
    phase: Phase
    number: int
    end_to_end: int
    resend: bool
    service_context: str
    identities: tuple[str, ...]
    """"msisdn:4917...", "imsi:...", "sip:...", "nai:...", "private:...", "username:...": in the order sent."""
    event_ms: int | None
    lines: tuple[AskedLine, ...]
    style: Style
    inputs: Inputs
    """What rating may look at."""
    action: Action | None = None
    refund_token: bytes = b""
    wants_cost: bool = False
    """Advice of charge was asked for."""


class FinalAction(Enum):
    TERMINATE = 0
    REDIRECT = 1
    RESTRICT_ACCESS = 2


class GrantedLine(msgspec.Struct, frozen=True):
    """One line of the answer."""

    rating_group: int | None
    service_id: int | None
    result: Result
    granted: Units | None
    validity_s: int | None
    change_ms: int | None = None
    """Tariff-Time-Change."""
    final: FinalAction | None = None
    redirect: tuple[int, str] | None = None
    """Redirect-Address-Type and address."""
    filters: tuple[str, ...] = ()
    filter_ids: tuple[str, ...] = ()
    threshold: int | None = None
    """In the unit granted: ask again when this little is left."""
    holding_s: int | None = None
    """Quota-Holding-Time."""


class ChargingAnswer(msgspec.Struct, frozen=True):
    """What is answered; `result` is the command's, each line has its own."""

    result: Result
    lines: tuple[GrantedLine, ...]
    reason: str = ""
    """A refusal in words (Error-Message)."""
    cost_micro: int | None = None
    currency: int | None = None
    """ISO 4217 number for cost and granted money."""
    enough: bool | None = None
    """CHECK_BALANCE."""
    low_balance: bool = False
    refund_token: bytes = b""
    failure_handling: int | None = None
    """Credit-Control-Failure-Handling."""
    debit_failure_handling: int | None = None
    """Direct-Debiting-Failure-Handling."""
    session_failover: int | None = None
    """CC-Session-Failover."""
    failed_avp: bytes = b""
