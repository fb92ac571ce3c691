"""The waist between protocols and charging: every protocol becomes a ChargingRequest and is answered from a
ChargingAnswer. What a protocol calls things stops in its translator (docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from balances.structs.charge import Action, Course, Cumulative, Phase, ReportPeriod, Result
from tariffs.inputs import Inputs


class Style(Enum):
    """Where the units stood in the request; the answer uses the same place."""

    COMMAND = "command"
    """Beside them is nothing: the request is one line."""
    LINES = "lines"
    """In lines of their own."""


class Units(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An amount in each unit; None where none was given."""

    money: int | None = None
    """Micro-units."""
    octets: int | None = None
    seconds: int | None = None
    units: int | None = None


NOTHING: Final = Units()


class Used(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Use reported for one period, pieces already summed."""

    units: Units
    period: ReportPeriod = ReportPeriod.BEFORE
    counter: Cumulative | None = None
    """None: this was used since the last report. Else the counter that shows it: all since the session began."""


class Reason(Enum):
    """Why the client reports, as far as charging treats it differently."""

    OTHER = 0
    FINAL = 1
    """The service is over: no grant."""
    IDLE = 2
    """Nothing was used for so long that the grant lapsed: release, grant only if asked."""


class MoneyAmount(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What an amount of money said besides its micro-units."""

    currencies: tuple[int, ...] = ()
    """ISO 4217 numbers it named."""
    unusable: bool = False
    """Negative, of another currency, or, where it is wanted, too fine: the line is refused (5004)."""
    rounded: bool = False
    """Finer than a micro-unit."""


class AskedLine(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One rating group + service identifier, as asked."""

    rating_group: int | None
    service_id: int | None
    requested: Units | None
    """None: nothing wanted. All fields None: wanted, amount and unit are ours to choose."""
    used: tuple[Used, ...] = ()
    reason: Reason = Reason.OTHER
    wish: MoneyAmount | None = None
    """What was odd about the money wanted; None: nothing ..."""
    use: MoneyAmount | None = None
    """... and about the money reported."""


LineFacts = Mapping[tuple[int | None, int | None], Mapping[str, int | str]]
"""Facts by name, by rating group and service identifier."""


CLIENT: Final = "http:"
"""What the name of a platform begins with as a client, and so its sessions; no DiameterIdentity does."""


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Who sent a request."""

    client: str
    """The network element that charges, as it names itself."""
    realm: str = ""
    """The part of the network it says it is in."""
    via: str = ""
    """Who brought it here: the client, or what stands between it and us."""
    restarts: int = 0
    """Rises when the client restarts and loses its sessions; 0: it does not say."""
    identification: str = ""
    """By what the client knows the session, where that is more than its name (Session.identification)."""


class RequestKey(msgspec.Struct, frozen=True, gc=False):
    """Which request it is (charging.md 3)."""

    session: str
    sub_session: int | None = None
    number: int = 0
    """Of its phase, in its session."""
    message: int = 0
    """By which its sender knows this message again: one that is sent again has the same."""
    resend: bool = False
    """Its sender says that it may have come before."""


class SessionCourse(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of a session that its client runs by itself and reports by counters (charging.md section 8)."""

    step: Course
    token: str = ""
    """What was given for it when it was authorised here; "": nothing, or it is not said."""
    began_ms: int = 0
    """When it began, 0 where that is not said, ..."""
    lasted_s: int = -1
    """... and how long it has lasted; -1."""
    adopts: str = ""
    """The session that holds what was authorised before it began."""
    restarted_ms: int = 0
    """When its client last lost all that began before, where that was asked; 0."""


class ChargingRequest(msgspec.Struct, frozen=True, gc=False):
    """One request of a network element."""

    def reports(self) -> bool:
        """Whether the request reports use. Such a request is never refused as a whole (charging.md section 2)."""
        return self.phase is not Phase.EVENT and (self.phase is not Phase.START or any(one.used for one in self.lines))

    def settles(self) -> bool:
        """Whether it is about a session that is open, as far as it knows."""
        if self.phase is Phase.RECORD:
            return self.course is not None and self.course.step is not Course.BEGINS
        return self.phase is Phase.UPDATE or self.phase is Phase.STOP

    def enquires(self) -> bool:
        """Whether it asks, and nothing is done."""
        return self.phase is Phase.EVENT and self.action in (Action.CHECK, Action.PRICE)

    def is_cumulative(self) -> bool:
        """It shows counters: what they gained is for the store to say, and the key only protects what is held
        (charging.md section 8)."""
        return self.course is not None or any(used.counter is not None for line in self.lines for used in line.used)

    origin: Origin
    key: RequestKey
    phase: Phase
    identities: tuple[str, ...]
    """As `identity.canonical` spells them, in the order in which they are to be tried."""
    event_ms: int | None
    lines: tuple[AskedLine, ...]
    style: Style
    inputs: Inputs
    """What rating may look at; `inputs.service` names the row of the service table, "" if none matched."""
    action: Action = Action.DEBIT
    """Of an EVENT."""
    currency: int | None = None
    """ISO 4217 number of the first money in it that names one."""
    refund_token: bytes = b""
    wants_cost: bool = False
    """Advice of charge was asked for."""
    line_facts: LineFacts = {}
    """Inputs that are told of single lines."""
    course: SessionCourse | None = None
    """None: what is used is granted before."""
    held_s: int = 0
    """What is granted is held for so long; 0: as the service says."""
    sessions_max: int | None = None
    """Of a START: so many sessions of the subscriber and service may be open with it; None: as many as there are."""
    replaces: tuple[str, ...] = ()
    """Sessions that do not count, and are told to end."""
    whole: bool = False
    """What is asked for is granted whole, or nothing of it."""
    exact_units: bool = False
    """A wish that names only other units than its price counts is refused; else its amount says nothing."""
    covered: bool = False
    """Of an UPDATE: nothing is done where less is held than what it reports and asks for."""


class FinalAction(Enum):
    TERMINATE = 0
    REDIRECT = 1
    RESTRICT_ACCESS = 2


class AddressKind(Enum):
    IPV4 = 0
    IPV6 = 1
    URL = 2
    SIP = 3


class FinalUnit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the network does when the last units are used."""

    action: FinalAction = FinalAction.TERMINATE
    address_kind: AddressKind = AddressKind.URL
    address: str = ""
    """Where REDIRECT leads."""
    filters: tuple[str, ...] = ()
    """What stays reachable, as IP filter rules..."""
    filter_ids: tuple[str, ...] = ()
    """... or by the names of filters the network knows."""


class Delivery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a service is delivered at one grade of its price; what is 0 is not sent."""

    down_bps: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    """To the subscriber, bits per second."""
    up_bps: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0


class GrantedLine(msgspec.Struct, frozen=True, gc=False):
    """One line of the answer."""

    rating_group: int | None
    service_id: int | None
    result: Result
    granted: Units | None = None
    validity_s: int | None = None
    change_ms: int | None = None
    """When what is granted costs otherwise, and is to be reported apart."""
    final: FinalUnit | None = None
    threshold: int | None = None
    """In the unit granted: ask again when this little is left."""
    holding_s: int | None = None
    """Given back when nothing is used for so long."""
    delivery: Delivery | None = None
    grade: str = ""
    """Of its price; a row of services may say more of it (`delivery`)."""
    counts: tuple[int, ...] = ()
    """Units that it counts (Kind)."""


class Fault(Enum):
    """What in the request could not be used; protocols that can, name it in their own words."""

    NONE = 0
    SERVICE = 1
    """The service context is not known."""
    LINE = 2
    """A rating group or service identifier has no price."""
    MONEY = 3
    """An amount in a currency that is not the account's."""


class ChargingAnswer(msgspec.Struct, frozen=True, gc=False):
    """What is answered; `result` is the command's, each line has its own."""

    result: Result
    lines: tuple[GrantedLine, ...] = ()
    reason: str = ""
    """A refusal in words."""
    fault: Fault = Fault.NONE
    cost_micro: int | None = None
    currency: int | None = None
    """ISO 4217 number for cost and granted money."""
    enough: bool | None = None
    """CHECK_BALANCE."""
    low_balance: bool = False
    refund_token: bytes = b""
    service: str = ""
    """By which row it was decided, "" by none. What else a protocol tells of a service, its translator finds there."""
    tariff: str = ""
    """PRICE: tariff, version and rows that say it."""
    marks: int = 0
    """What was unusual about the request (Flag), to be counted for its sender."""
    balance_micro: int | None = None
    """Own money of the account after it, with what is held; None: it was not looked at."""


class Busy(msgspec.Struct, frozen=True, gc=False):
    """Certainly not executed: the client may repeat it elsewhere at once."""

    reason: str = ""
