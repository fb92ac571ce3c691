"""One subscriber's session: what it sends next, what an answer changes, and what it has come to cost.

    session = Session(role, subscriber, session_id)
    session.plan(rng)                    # decides the use the next request reports; or set session.used yourself
    frame = session.frame(ids, stamp)
    due = session.answered(answer)       # micro-units this answer made due, by our own arithmetic

The state moves only with an answer, so the same request can be sent any number of times in between.
"""

import random
from typing import NamedTuple

from loadtest.answers import LoadAnswer
from loadtest.pricing import LoadPrice
from loadtest.scenario import Play, Scenario
from loadtest.templates import IMSI, MSISDN, Template
from protocol.diameter.dictionary.credit_control import CcRequestType, FinalUnitAction

INITIAL, UPDATE = CcRequestType.INITIAL_REQUEST, CcRequestType.UPDATE_REQUEST
TERMINATION, EVENT = CcRequestType.TERMINATION_REQUEST, CcRequestType.EVENT_REQUEST

# Refused by the protocol layer: nothing was charged, the same request may come again (RFC 6733 section 7.1.3).
TRANSIENT = frozenset({3002, 3004})
# The use in the request was taken although no more is granted (RFC 8506 section 9).
SETTLED = frozenset({2001, 2002, 4010, 4011, 4012, 5002, 5031})


class LoadSubscriber(NamedTuple):
    place: int
    account: int
    """Index of the account that pays."""
    identities: tuple[bytes, bytes]
    """MSISDN and IMSI."""


def subscriber(index: int, shared_by: int = 1) -> LoadSubscriber:
    """Number `index` of those that `provision.py` makes."""
    msisdn = f"4999{index:08d}"
    imsi = f"00101{msisdn[-10:]}"
    assert (len(msisdn), len(imsi)) == (len(MSISDN), len(IMSI))
    return LoadSubscriber(index, index // shared_by, (msisdn.encode(), imsi.encode()))


class Role:
    """A play as one origin acts it: templates by phase, and the price of each line."""

    __slots__ = ("play", "prices", "slots", "templates")

    def __init__(self, scenario: Scenario, play: Play, *, host: str, realm: str, destination: str) -> None:
        self.play = play
        self.prices: list[LoadPrice] = [scenario.price_of(play.service, line) for line in play.lines]
        self.slots = {line.rating_group: index for index, line in enumerate(play.lines)}
        phases = (EVENT,) if play.event else (INITIAL, UPDATE, TERMINATION)
        self.templates = {
            phase: Template(play, phase, host=host, realm=realm, destination=destination) for phase in phases
        }


class LoadSession:
    """A session, or a single event, from its first request to its last answer."""

    __slots__ = ("granted", "id", "left", "number", "phase", "result", "role", "subscriber", "totals", "used")

    def __init__(self, role: Role, subscriber: LoadSubscriber, session_id: bytes, *, updates: int = 0) -> None:
        lines = len(role.play.lines)
        self.role, self.subscriber, self.id = role, subscriber, session_id
        self.phase: CcRequestType | None = EVENT if role.play.event else INITIAL
        """Of the next request; None when the session is over."""
        self.number = 0
        self.left = updates
        self.used = [line.ask or 1 for line in role.play.lines] if role.play.event else [0] * lines
        """Units the next request reports, or an event is for."""
        self.granted = [0] * lines
        self.totals = [0] * lines
        """Units the server has taken note of."""
        self.result = 0

    def plan(self, rng: random.Random) -> None:
        """Use for the next report: as the scenario says, but never more than was granted."""
        if self.phase is UPDATE or self.phase is TERMINATION:
            chance = rng.random()
            self.used = [
                min(granted, line.use[0] + int(chance * (line.use[1] - line.use[0] + 1)))
                for granted, line in zip(self.granted, self.role.play.lines, strict=True)
            ]

    def frame(self, ids: bytes, stamp: bytes) -> bytes:
        """The next request, whole."""
        assert self.phase is not None, "the session is over"
        template = self.role.templates[self.phase]
        return template.fill(ids, self.id, self.number, stamp, self.subscriber.identities, self.used)

    def finish(self) -> None:
        """The next request ends it."""
        if self.phase is UPDATE:
            self.phase = TERMINATION

    def due_if_taken(self) -> int:
        """What the use in the next request would cost on top of what is due already."""
        if self.phase is INITIAL:
            return 0
        cost = 0
        for price, total, used in zip(self.role.prices, self.totals, self.used, strict=True):
            cost += price.cost(total + used) - price.cost(total)
        return cost

    def due_if_all(self) -> int:
        """What all that is granted would cost on top of what is due already."""
        if self.phase is None:
            return 0
        cost = 0
        for price, total, granted in zip(self.role.prices, self.totals, self.granted, strict=True):
            cost += price.cost(total + granted) - price.cost(total)
        return cost

    def answered(self, answer: LoadAnswer) -> int:
        """Takes note of an answer to the request last made; returns the micro-units that became due with it."""
        self.result = result = answer.result
        if result in TRANSIENT:
            return 0
        phase, due = self.phase, 0
        if result in SETTLED and phase is not INITIAL and (phase is not EVENT or result == 2001):
            due = self.due_if_taken()
            self.totals = [total + used for total, used in zip(self.totals, self.used, strict=True)]
        self.number += 1
        if phase is TERMINATION or phase is EVENT or result != 2001:
            self.phase = None
        else:
            self._go_on(answer)
        return due

    def _go_on(self, answer: LoadAnswer) -> None:
        """Holds after INITIAL or UPDATE: another UPDATE, or the end if a line was refused or got its last units."""
        self.left -= self.phase is UPDATE
        self.phase = UPDATE if self.left > 0 else TERMINATION
        granted = self.granted = [0] * len(self.granted)
        for line in answer.lines:
            slot = self.role.slots.get(line.rating_group)
            if slot is None:
                continue
            if line.result in (2001, None):
                granted[slot] = line.granted
            if line.result not in (2001, None) or line.final == FinalUnitAction.TERMINATE:
                self.phase = TERMINATION
