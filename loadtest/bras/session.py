"""One session at a port of a BRAS: what it sends next, and what it has come to cost by our own arithmetic.

Counters grow with real time at the session's own speed, so they never show more than a port can carry, and pass
4 GiB within seconds at some hundred MB/s. Money follows the highest counters that were acknowledged.
"""

import random
from enum import Enum
from typing import NamedTuple

from loadtest.bras.packets import AccountingFacts, known_as
from loadtest.bras.scenario import MBIT_OCTETS, BrasScenario
from loadtest.pricing import LoadPrice
from protocol.radius.dictionary.values import AcctStatusType

START, INTERIM, STOP = AcctStatusType.START, AcctStatusType.INTERIM_UPDATE, AcctStatusType.STOP


class BrasPhase(Enum):
    LOGIN = "login"
    START = "start"
    INTERIM = "interim"
    STOP = "stop"
    OVER = "over"
    """Nothing more is sent; answers may be outstanding."""


class Manner(Enum):
    """What a session does when it is told something."""

    OBEYS = "obeys"
    FORGETS = "forgets"
    REFUSES = "refuses"
    IGNORES = "ignores"


class BrasSubscriber(NamedTuple):
    place: int
    account: int
    """Index of the account that pays."""
    user: str
    password: bytes


def bras_subscriber(index: int, shared_by: int = 1) -> BrasSubscriber:
    """Number `index` of those that `provision.py` makes."""
    return BrasSubscriber(index, index // shared_by, f"bras-{index:07d}", f"secret-{index:07d}".encode())


class BrasSession:
    """From its login to the last answer."""

    __slots__ = (
        "began_s",
        "chap",
        "classes",
        "counted",
        "face",
        "id",
        "known",
        "left",
        "manner",
        "outstanding",
        "owed",
        "phase",
        "price",
        "sent",
        "share_in",
        "speed",
        "stamp_s",
        "subscriber",
        "told",
        "total",
        "wrong_password",
    )

    def __init__(
        self, scenario: BrasScenario, price: LoadPrice, who: BrasSubscriber, face: bytes, id_: str, rng: random.Random
    ) -> None:
        self.subscriber, self.face, self.id, self.price = who, face, id_, price
        self.phase = BrasPhase.START if rng.random() < scenario.strangers else BrasPhase.LOGIN
        self.wrong_password = self.phase is BrasPhase.LOGIN and rng.random() < scenario.wrong_passwords
        self.chap = rng.random() < scenario.chap
        self.left = rng.randint(*scenario.interims)
        self.speed = int(rng.uniform(*scenario.speed_mbps) * MBIT_OCTETS)
        """Octets per second, both directions together."""
        self.share_in = rng.random() * 0.5
        self.manner = _manner(scenario, rng)
        self.classes: tuple[bytes, ...] = ()
        self.known = b""
        self.began_s = self.stamp_s = 0.0
        self.total = self.sent = self.counted = self.owed = 0
        """Octets used, shown at most and acknowledged at most; micro-units owed for those acknowledged."""
        self.outstanding = 0
        self.told = False

    def accepted(self, classes: list[bytes]) -> None:
        self.classes, self.phase = tuple(classes), BrasPhase.START

    def facts(self, now_s: float) -> AccountingFacts:
        """The next accounting packet; the phase moves on with it. now_s: Unix time."""
        if self.phase is BrasPhase.START:
            self.began_s = self.stamp_s = now_s
            self.known = known_as(self.face, self.id, self.classes)
            self.phase = BrasPhase.INTERIM if self.left else BrasPhase.STOP
            return AccountingFacts(START, 0, 0, 0, int(now_s))
        status = INTERIM if self.phase is BrasPhase.INTERIM else STOP
        self.total += int(self.speed * max(0.0, now_s - self.stamp_s))
        self.stamp_s = max(now_s, self.stamp_s)
        self.sent = self.total
        incoming = int(self.total * self.share_in)
        self.left -= status is INTERIM
        if status is STOP:
            self.phase = BrasPhase.OVER
        elif self.left <= 0:
            self.phase = BrasPhase.STOP
        stamp_s = int(self.stamp_s)
        return AccountingFacts(status, stamp_s - int(self.began_s), incoming, self.total - incoming, stamp_s)

    def acknowledged(self, total: int) -> int:
        """Micro-units that became due with this answer."""
        if total <= self.counted:
            return 0
        before, self.counted = self.owed, total
        self.owed = self.price.cost(total)
        return self.owed - before

    def in_doubt(self) -> int:
        """What was sent and never acknowledged may have cost so much."""
        return self.price.cost(max(self.sent, self.counted)) - self.owed

    def finish(self) -> None:
        """The next packet is its last: nothing if it has not begun."""
        self.left = 0
        if self.phase is BrasPhase.INTERIM:
            self.phase = BrasPhase.STOP

    def vanish(self) -> None:
        """The BRAS does not know it any more."""
        self.phase = BrasPhase.OVER


def _manner(scenario: BrasScenario, rng: random.Random) -> Manner:
    obeying, chance = scenario.obeying, rng.random()
    for share, manner in (
        (obeying.forgets, Manner.FORGETS),
        (obeying.refuses, Manner.REFUSES),
        (obeying.ignores, Manner.IGNORES),
    ):
        if chance < share:
            return manner
        chance -= share
    return Manner.OBEYS
