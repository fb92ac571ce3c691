"""The service table: one row for each service, found by the Service-Context-Id of a request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Final, Literal, get_type_hints

import msgspec
from msgspec import Meta

from ocs.charging.login_hours import LoginHours
from ocs.charging.request import Delivery, FinalAction, FinalUnit
from tariffs.units import EXACT_MAX, Kind, Rounding

Amount = Annotated[int, Meta(ge=1, le=EXACT_MAX)]
Seconds = Annotated[int, Meta(ge=1, le=31 * 86_400)]

REMEMBERED_MAX: Final = 4096
CONTEXT_MAX: Final = 256
"""Characters of a Service-Context-Id that is remembered: those that come from outside may be as long as a message."""


class ServiceQuota(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Quota of one unit: default (when no amount is asked), minimum and maximum."""

    default: Amount
    minimum: Amount
    maximum: Amount

    def __post_init__(self) -> None:
        if not self.minimum <= self.default <= self.maximum:
            raise ValueError("expected minimum <= default <= maximum")


QUOTAS: Final = {
    "octets": {"default": 10 * 2**20, "minimum": 2**20, "maximum": 2**30},
    "seconds": {"default": 300, "minimum": 1, "maximum": 7_200},
    "units": {"default": 1, "minimum": 1, "maximum": 1_000},
    "money": {"default": 1_000_000, "minimum": 1, "maximum": 100_000_000},
}
"""By unit, where nobody says otherwise."""


class CostInfo(Enum):
    """When Cost-Information is sent."""

    NEVER = "never"
    ASKED = "asked"
    ALWAYS = "always"


class OnSuspend(Enum):
    """What is done to a session that goes on with what it was granted before its account, or its service, was
    suspended (charging.md section 7)."""

    REAUTHORIZE = "reauthorize"
    """Its client is asked to report now (RAR)."""
    ABORT = "abort"
    """It is ended (ASR)."""
    CHANGE = "change"
    """It is changed in place (CoA)."""
    DISCONNECT = "disconnect"
    """It is ended (Disconnect-Request)."""
    NOTHING = "nothing"


SessionsOver = Literal["refuse", "replace"]


class Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row."""

    name: str
    """In tariffs, in the scope of balances, on metrics."""
    contexts: tuple[str, ...] = ()
    """Ends of the Service-Context-Ids it serves (TS 32.299 section 7.2: operators put their own part in front), or
    the whole of one with `*` for any run of characters."""
    unit: Kind
    """What a line counts in when neither its tariff nor the request says."""
    octets: ServiceQuota = ServiceQuota(**QUOTAS["octets"])
    seconds: ServiceQuota = ServiceQuota(**QUOTAS["seconds"])
    units: ServiceQuota = ServiceQuota(**QUOTAS["units"])
    money: ServiceQuota = ServiceQuota(**QUOTAS["money"])
    """Micro-units."""
    validity_s: Seconds = 600
    priority: Annotated[int, Meta(ge=0, le=1_000)] = 100
    """Lower is served first when funds are short."""
    final: FinalUnit = FinalUnit()
    threshold_percent: Annotated[int, Meta(ge=0, le=90)] = 0
    """Of the grant: the client asks again when this little is left. 0: when all is used."""
    holding_s: Annotated[int, Meta(ge=0, le=86_400)] | None = None
    """Quota-Holding-Time; 0 turns it off at the client, None leaves it to the client."""
    failure_handling: Annotated[int, Meta(ge=0, le=2)] | None = None
    """Credit-Control-Failure-Handling: 0 terminate, 1 continue, 2 retry and terminate; None: not sent."""
    debit_failure_handling: Annotated[int, Meta(ge=0, le=1)] | None = None
    """Direct-Debiting-Failure-Handling: 0 terminate or buffer, 1 continue; None: not sent."""
    session_failover: Annotated[int, Meta(ge=0, le=1)] | None = 1
    """CC-Session-Failover: any worker, on any host of one store, can take a session over."""
    cost: CostInfo = CostInfo.ASKED
    low_balance: bool = True
    """Low-Balance-Indication is sent while the balance is low."""
    part: bool = False
    """A direct debit may be served in part; else all or nothing."""
    refund_free_micro: Annotated[int, Meta(ge=0, le=EXACT_MAX)] = 0
    """Largest refund whose original is not known; 0: none."""
    on_suspend: OnSuspend = OnSuspend.REAUTHORIZE
    """CoA and Disconnect are for sessions of protocols that have them."""
    events: bool = True
    """One-time events are served."""
    grades: dict[str, Delivery] = {}
    """What the network is told for each grade a tariff names (`grade = "night"`)."""
    rounding: Rounding = Rounding.UP
    """Of reported money that is finer than a micro-unit: "up", "down" or "half_up"."""
    sessions_max: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    """Of a subscriber at once (RADIUS); None: as many as there are."""
    sessions_over: SessionsOver = "refuse"
    """Who logs in beyond that is refused, or replaces the session that is open for longest: it is disconnected."""
    login_hours: str = ""
    """When subscribers may be logged in (RADIUS): `mon-fri 08:00-20:00, sat 10:00-14:00` on the clock of the account;
    "": always."""
    subscriber_defaults: Annotated[dict[str, Annotated[str, Meta(max_length=255)]], Meta(max_length=32)] = {}
    """What a NAS is told (RADIUS) of subscribers without an attribute of that name: a pool, an Idle-Timeout."""
    rating_group: Annotated[int, Meta(ge=0, le=2**32 - 1)] | None = None
    """Taken for a line that names neither rating group nor service identifier; None: rated without."""

    def __post_init__(self) -> None:
        LoginHours(self.login_hours)
        if self.final.action is FinalAction.REDIRECT and not self.final.address:
            raise ValueError("expected final.address beside the action redirect")
        if self.final.action is FinalAction.TERMINATE and self.final != FinalUnit():
            raise ValueError("expected final.action, redirect or restrict_access: terminate has nothing beside it")
        if self.final.action is FinalAction.RESTRICT_ACCESS and self.final.address:
            raise ValueError("expected no final.address beside the action restrict_access")
        if self.holding_s and self.holding_s >= self.validity_s:
            raise ValueError("expected holding_s < validity_s")

    def quota(self, kind: Kind) -> ServiceQuota:
        return (self.money, self.octets, self.seconds, self.units)[kind]


# What each built-in row says on its own account: that stands, also where it equals a default, until the configuration
# names the row. TS 32.299 section 7.1.12: the middle-tier TS of each domain is the last part of its Service-Context-Id.
BUILT_IN: Final[dict[str, dict[str, Any]]] = {
    "data": {
        "contexts": ("32251@3gpp.org", "32255@3gpp.org", "32252@3gpp.org", "32253@3gpp.org"),
        "unit": Kind.OCTETS,
        "threshold_percent": 10,
    },
    "voice": {
        "contexts": ("32260@3gpp.org", "32276@3gpp.org", "32275@3gpp.org", "32272@3gpp.org"),
        "unit": Kind.SECONDS,
        "seconds": {"default": 300, "minimum": 30, "maximum": 7_200},
        "priority": 50,
    },
    "sms": {"contexts": ("32274@3gpp.org",), "unit": Kind.UNITS, "priority": 60},
    "mms": {"contexts": ("32270@3gpp.org",), "unit": Kind.UNITS, "priority": 70},
    "generic": {
        "contexts": (
            "32271@3gpp.org",
            "32273@3gpp.org",
            "32277@3gpp.org",
            "32278@3gpp.org",
            "32280@3gpp.org",
            "32281@3gpp.org",
        ),
        "unit": Kind.UNITS,
    },
}

UNKNOWN: Final = Service(name="unknown", unit=Kind.UNITS)
"""Settles reports that come under a context nobody serves; grants nothing."""


class Services:
    """The rows in force, by name and by context."""

    def __init__(self, rows: tuple[Service, ...] | None = None, own: Mapping[str, str] = {}) -> None:
        """
        rows:  the built-in ones, if no others
        own:   contexts of the configuration -> name of their row; they are looked at before the built-in ones
        """
        rows = SERVICES if rows is None else rows
        self.rows: tuple[Service, ...] = rows
        self.by_name = {row.name: row for row in rows}
        if len(self.by_name) < len(rows):
            raise ValueError("two services have the same name")
        first = [(context, self.by_name[name]) for context, name in own.items()]
        rest = [(context, row) for row in rows for context in row.contexts if context not in own]
        self._patterns = [(_pattern(context), row) for context, row in (*first, *rest)]
        self._remembered: dict[str, Service | None] = {}

    def of(self, context: str) -> Service | None:
        """The row for a Service-Context-Id; None: nobody serves it."""
        try:
            return self._remembered[context]
        except KeyError:
            pass
        found = next((row for pattern, row in self._patterns if pattern.fullmatch(context)), None)
        if len(context) <= CONTEXT_MAX:
            if len(self._remembered) >= REMEMBERED_MAX:  # contexts come from outside
                self._remembered.clear()
            self._remembered[context] = found
        return found


def _pattern(context: str) -> re.Pattern[str]:
    """ "32251@3gpp.org" serves "ext.001.01.8.32251@3gpp.org" and not "132251@3gpp.org"; no letter case."""
    text = ".*".join(re.escape(part) for part in context.split("*"))
    return re.compile(text if "*" in context else rf"(?:.*\.)?{text}", re.IGNORECASE | re.DOTALL)


def service_table(defaults: Mapping[str, Any] = {}, changes: Mapping[str, Mapping[str, Any]] = {}) -> Services:
    """The built-in rows with what the configuration says otherwise; ValueError names row, key and what was expected.

    defaults:  fields every row takes: validity_s, octets, seconds, ...; of a quota also single amounts
    changes:   fields by name of the service; a name that is new is a new row, which needs `contexts` and `unit`.
               What it names stands, also where that equals a default.
               `contexts` are added to the built-in ones, `contexts_only` take their place
    """
    said = {name: dict(change) for name, change in changes.items()}
    written: dict[str, str] = {}
    owners: dict[str, str] = {}
    for name, change in said.items():
        if "name" in change:
            raise ValueError(f"{name}.name: a service cannot be renamed")
        for context in _contexts(name, change, BUILT_IN.get(name, {}).get("contexts", ())):
            owner = owners.setdefault(context.lower(), name)  # contexts match without letter case
            if owner != name:
                raise ValueError(f"{name}.contexts: {context!r} is one of {owner} already")
            written[context] = name
    made = []
    for name in BUILT_IN | said:
        # A default of the configuration yields to what a built-in row says on its own account.
        row = _over(_over(defaults, BUILT_IN.get(name, {})), said.get(name, {}))
        for unit in QUOTAS.keys() & row.keys():
            if isinstance(row[unit], Mapping):
                row[unit] = {**QUOTAS[unit], **row[unit]}
        try:
            made.append(msgspec.convert(_with_names({**row, "name": name}), Service))
        except (msgspec.ValidationError, ValueError) as bad:
            raise ValueError(f"{name}{_place(str(bad))}") from None
    return Services(tuple(made), written)


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Values of `above`, and of `below` where `above` has none; of a quota each amount by itself."""
    merged = {**below, **above}
    for unit in QUOTAS.keys() & below.keys() & above.keys():
        if isinstance(below[unit], Mapping) and isinstance(above[unit], Mapping):
            merged[unit] = {**below[unit], **above[unit]}
    return merged


def _contexts(name: str, change: dict[str, Any], built_in: Sequence[str]) -> list[str]:
    """Contexts that the configuration gives a row. Puts all that it has into `change`."""
    given = {key: change.pop(key) for key in ("contexts", "contexts_only") if key in change}
    for key, contexts in given.items():
        if not isinstance(contexts, list | tuple) or not all(isinstance(one, str) and one for one in contexts):
            raise ValueError(f'{name}.{key}: expected a list of contexts such as ["32251@3gpp.org"], not {contexts!r}')
    if len(given) > 1:
        raise ValueError(f"{name}: expected either `contexts`, which adds to the built-in ones, or `contexts_only`")
    (contexts,) = given.values() or ([],)
    if given:
        kept = () if "contexts_only" in given else built_in
        change["contexts"] = [*dict.fromkeys((*kept, *contexts))]
    return list(contexts)


def unserved(table: Services) -> list[str]:
    """Built-in contexts that no row serves any more, because the configuration named others in their place."""
    return [context for row in BUILT_IN.values() for context in row["contexts"] if table.of(context) is None]


def _with_names(row: dict[str, Any]) -> dict[str, Any]:
    """Kinds and actions may be written as words."""
    row = dict(row)
    for key, kind in (("unit", Kind), ("rounding", Rounding)):
        if isinstance(row.get(key), str):
            row[key] = _number(key, row[key], kind)
    final = row.get("final")
    if isinstance(final, Mapping) and isinstance(final.get("action"), str):
        row["final"] = {**final, "action": _number("final.action", final["action"], FinalAction)}
    return row


def _number(key: str, word: str, kind: type[Enum]) -> Any:
    words = {one.name.lower(): one.value for one in kind}
    if word not in words:
        raise ValueError(f"{key}: expected one of {', '.join(words)}, found {word!r}")
    return words[word]


def _place(refusal: str) -> str:
    """ ".key: what was expected", from what msgspec or a row says of one row."""
    what, _, path = refusal.rpartition(" - at `$")
    what, path = (what, path.removesuffix("`")) if what else (refusal, "")
    if missing := re.fullmatch(r"Object missing required field `(.+)`", what):
        return f"{path}: expected {missing[1]} to be given"
    if unknown := re.fullmatch(r"Object contains unknown field `(.+)`", what):
        return f"{path}.{unknown[1]}: no such key"
    if wrong := re.fullmatch(r"Invalid enum value (.+)", what):
        kind = get_type_hints(Service).get(path.removeprefix("."))
        if isinstance(kind, type) and issubclass(kind, Enum):
            return f"{path}: expected one of {', '.join(one.value for one in kind)}, found {wrong[1]}"
    if re.match(r"[a-z_.]+: ", what):
        return f".{what}"
    return f"{path}: {what[0].lower()}{what[1:]}".replace("`", "")


SERVICES: Final[tuple[Service, ...]] = service_table().rows
"""The built-in rows."""
