"""What to play: a TOML file becomes one frozen tree. Unknown keys, wrong types and impossible values are refused."""

from typing import Annotated, ClassVar, Final, Literal

import msgspec

from loadtest.pricing import LoadPrice, micro
from loadtest.shelf import Shelf

Range = tuple[Annotated[int, msgspec.Meta(ge=0)], Annotated[int, msgspec.Meta(ge=0)]]
Unit = Literal["octets", "seconds", "units"]
Service = Literal["data", "voice", "sms"]
Obeys = Literal["at_once", "late", "never"]

CONTEXTS: dict[Service, str] = {"data": "32251@3gpp.org", "voice": "32260@3gpp.org", "sms": "32274@3gpp.org"}


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A struct that refuses unknown keys, so that a misspelt key is an error."""


class ScenarioPrice(Strict, frozen=True):
    """One row of the price list: the tariff the server is given and the witness's own arithmetic, from one line."""

    service: Service
    unit: Unit
    block: Annotated[int, msgspec.Meta(ge=1)]
    price: str
    rating_group: int | None = None
    """None: any rating group without a row of its own, or none."""


class ScenarioLine(Strict, frozen=True):
    """One rating group of a session. Without a rating group the units stand at command level (single service)."""

    unit: Unit
    use: Range
    """Least and most units in a report; what is left of the grant is the other bound."""
    rating_group: int | None = None
    ask: int | None = None
    """Units asked for; None leaves the amount to the server."""


class Play(Strict, frozen=True):
    """One kind of traffic: sessions of INITIAL, some UPDATEs, TERMINATION; or single events."""

    service: Service
    lines: tuple[ScenarioLine, ...]
    weight: Annotated[int, msgspec.Meta(ge=1)] = 1
    updates: Range = (3, 9)
    event: bool = False
    """A single EVENT_REQUEST (DIRECT_DEBITING) instead of a session."""
    obeys: Obeys = "at_once"
    """When a session reports after a RAR, or ends after an ASR."""


class Scenario(Strict, frozen=True):
    prefix: ClassVar[str] = "load"
    """Of the ids of its accounts and subscribers."""

    name: str
    plays: tuple[Play, ...]
    prices: tuple[ScenarioPrice, ...]
    about: str = ""
    currency: str = "EUR"
    subscribers: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 1_000
    accounts_shared_by: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Subscribers that pay from one account."""
    balance: str = "100.00"
    """What each account is filled up to before the run."""
    suspend_below: str | None = None
    """The line of each account: below it the server has to tell its sessions."""
    late_s: Annotated[float, msgspec.Meta(gt=0)] = 3.0
    """How late those obey that are `late`."""
    rate: Annotated[float, msgspec.Meta(gt=0)] = 200.0
    """Requests per second, of all subscribers together."""
    pacing: Literal["poisson", "fixed"] = "poisson"
    duration_s: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    sessions: Annotated[int, msgspec.Meta(ge=1)] = 500
    """Open at the same time, at most."""
    connections: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 2
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    """Unanswered for so long, a request is sent again with the T bit (RFC 8506 section 13: Tx)."""

    def __post_init__(self) -> None:
        if self.suspend_below is not None and micro(self.suspend_below) >= micro(self.balance):
            raise ValueError("expected suspend_below to be less than balance")
        for row in self.prices:
            LoadPrice(row.price, row.block)
        for play in self.plays:
            if not play.lines:
                raise ValueError(f"a play of {play.service} has no lines")
            groups = [line.rating_group for line in play.lines]
            if len(set(groups)) < len(groups) or (None in groups and len(groups) > 1):
                raise ValueError(f"lines of a {play.service} play need a rating group each, all different")
            for least, most in [play.updates, *(line.use for line in play.lines)]:
                if least > most:
                    raise ValueError(f"[{least}, {most}] is not a range")
            for line in play.lines:
                self.price_of(play.service, line)
        if not self.plays:
            raise ValueError("nothing to play")

    def price_of(self, service: Service, line: ScenarioLine) -> LoadPrice:
        """The price of a line: its rating group's row, else the one for any."""
        for wanted in dict.fromkeys((line.rating_group, None)):
            for row in self.prices:
                if (row.service, row.rating_group, row.unit) == (service, wanted, line.unit):
                    return LoadPrice(row.price, row.block)
        raise ValueError(f"no price for {service}, rating group {line.rating_group}, in {line.unit}")

    @property
    def requests_per_session(self) -> float:
        """On average, over the mix."""
        lengths = [1.0 if play.event else 2 + sum(play.updates) / 2 for play in self.plays]
        return sum(n * p.weight for n, p in zip(lengths, self.plays, strict=True)) / sum(p.weight for p in self.plays)


_SHELF: Final = Shelf("loadtest", Scenario, "scenario")
shipped, load = _SHELF.shipped, _SHELF.load
