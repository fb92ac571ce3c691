"""How much more an account can pay for: what a NAS is told as the end of a session, though only a part of it is held
(charging.md section 8). Pure: the readable model of the store decides it on a copy of what is stored."""

from __future__ import annotations

from typing import Final

import msgspec

from balances.model.store import Model
from balances.structs.account import Account
from balances.structs.charge import Charge, Outcome, Result
from balances.structs.session import Session
from tariffs.units import Kind

SECONDS_MAX: Final = 366 * 86_400
OCTETS_MAX: Final = 2**50
"""Beyond these there is no end to speak of."""
WISHES: Final = {Kind.SECONDS: SECONDS_MAX, Kind.OCTETS: OCTETS_MAX}

_outcome: Final = msgspec.msgpack.Decoder(Outcome).decode


class Affordable(msgspec.Struct, frozen=True):
    """What may still be used; None: no end that anybody would meet."""

    seconds: int | None = None
    octets: int | None = None

    def within(self, seconds: int | None) -> Affordable:
        """The same, and no longer than that; None: without another end."""
        ends = [one for one in (self.seconds, seconds) if one is not None]
        return Affordable(min(ends, default=None), self.octets)


ENDLESS: Final = Affordable()


def affordable(charge: Charge, account: Account, session: Session | None) -> Affordable:
    """What the lines of this charge could be granted at most, with what its own session holds.

    charge:  as it was sent; nothing is charged by this
    """
    model = Model()
    model.accounts[account.id] = account
    model.sessions[account.id] = {} if session is None else {session.id: session}
    asks = [
        msgspec.structs.replace(ask, asked=WISHES.get(Kind(ask.unit), ask.asked), maximum=0, until_ms=0, reports=[])
        for ask in charge.asks
        if ask.asked >= 0
    ]
    facts = session.facts if session is not None else charge.facts
    # A request of its own: not the repeat of the one that was sent.
    asked = msgspec.structs.replace(
        charge, asks=asks, key="affordable", fingerprint="", end_to_end=-1, countable=False, facts=facts, told=facts
    )
    reply = model.charge(asked)
    if reply.status != "ok":
        return ENDLESS
    least: dict[int, int] = {}
    for line in _outcome(reply.outcome).lines:
        if line.result in (Result.OK, Result.CREDIT_LIMIT) and line.granted < WISHES.get(Kind(line.unit), 0):
            least[line.unit] = min(line.granted, least.get(line.unit, line.granted))
    return Affordable(least.get(Kind.SECONDS), least.get(Kind.OCTETS))
