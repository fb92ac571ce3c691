"""What a BRAS plays: a TOML file becomes one frozen tree. Unknown keys and impossible values are refused."""

from typing import Annotated, ClassVar, Final, Literal

import msgspec

from loadtest.pricing import LoadPrice, micro
from loadtest.scenario import Range, ScenarioPrice, Strict
from loadtest.shelf import Shelf

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
MBIT_OCTETS = 125_000


class Obeying(Strict, frozen=True):
    """Shares of sessions by what they do when a CoA or Disconnect names them; the rest obeys."""

    forgets: Share = 0.0
    """The BRAS has lost them: NAK 503 (Session Context Not Found), and nothing more is reported."""
    refuses: Share = 0.0
    """NAK 403 (NAS Identification Mismatch); the session goes on."""
    ignores: Share = 0.0
    """Nothing comes back."""

    def __post_init__(self) -> None:
        if self.forgets + self.refuses + self.ignores > 1:
            raise ValueError("forgets, refuses and ignores are shares: together at most 1")


class BrasScenario(Strict, frozen=True):
    prefix: ClassVar[str] = "bras"

    name: str
    price: ScenarioPrice
    about: str = ""
    currency: str = "EUR"
    subscribers: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 2_000
    accounts_shared_by: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Subscribers that pay from one account."""
    balance: str = "1000.00"
    suspend_below: str | None = None
    """The line of each account: below it the server has to tell its sessions."""
    rate: Annotated[float, msgspec.Meta(gt=0)] = 500.0
    """Packets per second, of all subscribers together; what is sent again is not counted."""
    pacing: Literal["poisson", "fixed"] = "poisson"
    duration_s: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    sessions: Annotated[int, msgspec.Meta(ge=1)] = 1_000
    """Open at the same time, at most. With `rate` this gives the time between two packets of a session."""
    interims: Range = (3, 12)
    """Interim-Updates of a session."""
    speed_mbps: tuple[Annotated[float, msgspec.Meta(ge=0)], Annotated[float, msgspec.Meta(ge=0)]] = (1.0, 6_400.0)
    """Of a session, both directions together. What is beyond `port_mbps` of the server's client would be set aside."""
    nases: Annotated[int, msgspec.Meta(ge=1, le=200)] = 2
    sockets: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    """Of each NAS towards the accounting port; as many towards the authentication port. 256 in flight on each."""

    chap: Share = 0.5
    """Of the logins; the others are PAP."""
    strangers: Share = 0.0
    """Sessions that were authenticated elsewhere: they are only accounted."""
    wrong_passwords: Share = 0.0
    """Logins with a wrong password: each must be rejected."""

    loss: Share = 0.0
    """Of packets, each way, on each transmission."""
    repeat: Share = 0.0
    """Of packets that are sent once more within `late_s`, answered or not."""
    reorder: Share = 0.0
    """Of Interim-Updates that leave up to `late_s` late, so that later packets of their session overtake them."""
    late_s: Annotated[float, msgspec.Meta(gt=0)] = 3.0
    reboots: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Within the run, one NAS after the other: its sessions vanish without a Stop."""
    down_s: Annotated[float, msgspec.Meta(ge=1)] = 2.0
    obeying: Obeying = Obeying()

    timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    """Unanswered for so long, a packet is sent again, the same octets; then after twice as long, and so on."""
    give_up_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0

    def __post_init__(self) -> None:
        if self.suspend_below is not None and micro(self.suspend_below) >= micro(self.balance):
            raise ValueError("expected suspend_below to be less than balance")
        if self.price.service != "data" or self.price.unit != "octets" or self.price.rating_group is not None:
            raise ValueError('expected a price of service "data" in octets, without rating_group')
        LoadPrice(self.price.price, self.price.block)
        for least, most in (self.interims, self.speed_mbps):
            if least > most:
                raise ValueError(f"[{least}, {most}] is not a range")

    @property
    def prices(self) -> tuple[ScenarioPrice, ...]:
        return (self.price,)

    @property
    def packets_per_session(self) -> float:
        return 3 - self.strangers + sum(self.interims) / 2


_SHELF: Final = Shelf("loadtest.bras", BrasScenario, "BRAS scenario")
shipped, load = _SHELF.shipped, _SHELF.load
