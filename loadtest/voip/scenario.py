"""What a voice gateway plays: a TOML file becomes one frozen tree, as loadtest/bras/scenario.py."""

from typing import Annotated, ClassVar, Final, Literal

import msgspec

from loadtest.bras.scenario import Share
from loadtest.pricing import LoadPrice
from loadtest.scenario import ScenarioPrice, Strict
from loadtest.shelf import Shelf

Seconds = Annotated[float, msgspec.Meta(ge=0, le=59)]
"""Of a call. The gateway only says how long it was connected: a server believes a minute more than has passed."""


class VoipScenario(Strict, frozen=True):
    prefix: ClassVar[str] = "voip"
    suspend_below: ClassVar[str | None] = None

    name: str
    price: ScenarioPrice
    about: str = ""
    currency: str = "EUR"
    subscribers: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 2_000
    accounts_shared_by: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Callers that pay from one account."""
    balance: str = "100.00"
    rate: Annotated[float, msgspec.Meta(gt=0)] = 300.0
    """Packets per second, of all gateways together; what is sent again is not counted."""
    pacing: Literal["poisson", "fixed"] = "poisson"
    duration_s: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    calls: Annotated[int, msgspec.Meta(ge=1)] = 500
    """At the same time, at most; a caller has one."""
    length_s: tuple[Seconds, Seconds] = (0.2, 50.0)
    """Of a call that is answered; cut where the server said so (h323-credit-time)."""
    announced_s: Seconds = 5.0
    """The incoming leg (`answer`) is connected up to so much longer, for announcements."""
    charged_leg: Literal["originate", "answer", "any"] = "originate"
    """As the server's client has it."""
    gateways: Annotated[int, msgspec.Meta(ge=1, le=200)] = 2
    """The legs of a call may be of two of them."""
    sockets: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    """Of each gateway towards each port. 256 packets in flight on each."""

    wrong_pins: Share = 0.0
    """Logins with a wrong PIN: each must be rejected."""
    unanswered: Share = 0.0
    """Calls that ring and are never connected: they cost nothing."""

    loss: Share = 0.0
    """Of packets, each way, on each transmission."""
    repeat: Share = 0.0
    """Of packets that are sent once more within `late_s`, answered or not."""
    reorder: Share = 0.0
    """Of Starts that leave up to `late_s` late, so that the Stops of their call overtake them."""
    late_s: Annotated[float, msgspec.Meta(gt=0)] = 3.0

    timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    """Unanswered for so long, a packet is sent again, the same octets; then after twice as long, and so on."""
    give_up_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0

    def __post_init__(self) -> None:
        if self.price.service != "voice" or self.price.unit != "seconds" or self.price.rating_group is not None:
            raise ValueError('expected a price of service "voice" in seconds, without rating_group')
        LoadPrice(self.price.price, self.price.block)
        least, most = self.length_s
        if least > most or most + self.announced_s > 59:
            raise ValueError(f"length_s [{least:g}, {most:g}] with {self.announced_s:g} announced: expected 59 at most")

    @property
    def prices(self) -> tuple[ScenarioPrice, ...]:
        return (self.price,)


_SHELF: Final = Shelf("loadtest.voip", VoipScenario, "VoIP scenario")
shipped, load = _SHELF.shipped, _SHELF.load
