"""Interim-Updates served by the template of their session, and the sessions whose template is at hand.

The one way in is `serve`: it serves a packet or says that it did not, and then nothing has happened. What becomes of
one that was served is what becomes of any (server.py, exchange.py): proof, rate, duplicates, admission, metrics,
silence when its fate is unknown. A reply of the store that says more than "charged" is answered the general way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import msgspec

from balances.structs.charge import Charge, Outcome, Reply, Result
from ocs.charging.handle import ChargingContext, Sent, keys_of
from ocs.charging.radius.template import InterimTemplate, cut, learn
from ocs.charging.request import ChargingRequest
from ocs.clock import monotonic_us, now_ms
from ocs.net.radius.clients import NasClient
from ocs.net.radius.conduct import Conduct, Conducts
from ocs.net.radius.duplicates import ExchangeKey
from ocs.net.radius.exchange import (
    WANTED_US,
    AnswerSocket,
    Arrived,
    RadiusExchange,
    RadiusExchangeOwner,
    RadiusReply,
)
from protocol.radius.authenticator import acknowledgement, is_proven
from protocol.radius.codes import PacketCode
from protocol.radius.packet import Packet

TRIES_MAX: Final = 8
"""A session that was learnt from so often and never served by it is not learnt from again while it is remembered."""
ACCOUNTING_REQUEST: Final = int(PacketCode.ACCOUNTING_REQUEST)
CHARGED: Final = msgspec.msgpack.encode(Outcome(Result.OK, []))[:2]
"""How a packed outcome begins that says so."""


class InterimServer(RadiusExchangeOwner, Protocol):
    """What serving by templates asks of whom it is done for (`server.RadiusServer`)."""

    conducts: Conducts

    def admits(
        self,
        key: ExchangeKey,
        authenticator: bytes,
        at_ms: int,
        at_us: int,
        by: AnswerSocket,
        conduct: Conduct,
        *,
        report: bool,
    ) -> bool: ...
    def over_rate(self, source: tuple[str, int], client: NasClient) -> None: ...
    def count_interim(self, client: NasClient, at_us: int) -> None: ...
    def violated_by(self, octets: bytes, source: tuple[str, int], bug: Exception) -> None: ...


class LearntInterim:
    """A template, by which octets it is found, and how often its session was learnt from since it was served by one."""

    __slots__ = ("client", "key", "keys", "template", "tries")

    def __init__(self, key: tuple[str, bytes], client: NasClient, template: InterimTemplate, tries: int) -> None:
        self.key, self.client, self.template, self.tries = key, client, template, tries
        self.keys = keys_of(template.sent.charge.account)


class InterimTemplates:
    """Of the sessions served last, at most `most`, one of each; it takes about 6 kB. 0: nothing is learnt."""

    def __init__(self, context: ChargingContext, most: int) -> None:
        self.context, self.most = context, most
        self.served = 0
        """Packets."""
        self.serves: Callable[[Arrived, Sent | None], Coroutine[Any, Any, RadiusReply | None]] | None = None
        """The general way (`accounting.Accounting`)."""
        self._known: dict[tuple[str, bytes], LearntInterim] = {}
        self._sessions: OrderedDict[str, LearntInterim] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def serve(
        self, octets: bytes, client: NasClient, source: tuple[str, int], by: AnswerSocket, server: InterimServer
    ) -> bool:
        """Whether the packet is served; else it is as if it had not been seen."""
        if not self._known:
            return False
        parts = cut(octets)
        if parts is None:
            return False
        learnt = self._known.get((source[0], parts.fixed))
        if learnt is None or learnt.client is not client or not is_proven(octets, client.secret):
            return False
        at_ms, authenticator = now_ms(), octets[4:20]
        charge = learnt.template.charge(parts.numbers, authenticator, self.context, at_ms)
        if charge is None:
            return False
        self._sessions.move_to_end(learnt.template.session)
        learnt.tries = 0
        conduct, at_us = server.conducts.of(source[0], client, at_ms), monotonic_us()
        if not conduct.within_rate(at_us):
            server.over_rate(source, client)
            return True
        key = ExchangeKey(source, octets[1], ACCOUNTING_REQUEST)
        if server.admits(key, authenticator, at_ms, at_us, by, conduct, report=True):
            self.served += 1
            InterimExchange(self, server, by, learnt, octets, key, charge, conduct, at_us)
        return True

    def learn(self, arrived: Arrived, request: ChargingRequest, sent: Sent, outcome: Outcome) -> None:
        """Of a packet that was served the general way, by one call with nothing unusual about it."""
        if not self.most:
            return
        session = request.key.session
        before = self._sessions.get(session)
        tries = 0 if before is None else before.tries
        parts = cut(arrived.packet.octets)
        if parts is None or tries >= TRIES_MAX:
            return
        client = arrived.client
        template = learn(parts.numbers, request, client.profile, sent, outcome, self.context)
        if template is None:
            return
        self.forget(session)
        learnt = LearntInterim((arrived.source[0], parts.fixed), client, template, tries + 1)
        self._known[learnt.key] = self._sessions[session] = learnt
        if len(self._sessions) > self.most:
            self.forget(next(iter(self._sessions)))

    def forget(self, session: str) -> None:
        """One that has ended."""
        learnt = self._sessions.pop(session, None)
        if learnt is not None:
            self._known.pop(learnt.key, None)


class InterimExchange:
    """One packet served by a template, until its answer is written."""

    __slots__ = ("_asking", "_at_us", "_by", "_charge", "_conduct", "_key", "_learnt", "_octets", "_owner", "_server")

    def __init__(
        self,
        owner: InterimTemplates,
        server: InterimServer,
        by: AnswerSocket,
        learnt: LearntInterim,
        octets: bytes,
        key: ExchangeKey,
        charge: Charge,
        conduct: Conduct,
        at_us: int,
    ) -> None:
        self._owner, self._server, self._by, self._learnt, self._octets = owner, server, by, learnt, octets
        self._key, self._charge, self._conduct, self._at_us = key, charge, conduct, at_us
        conduct.in_flight += 1
        server.admission.take(True)
        try:
            packed_inputs = learnt.template.sent.packed_inputs
            self._asking = asking = owner.context.store.charge(charge, packed_inputs, learnt.keys)
        except Exception as bug:
            self._failed(bug)
        else:
            asking.then(self)

    def __call__(self, reply: Reply | None, error: BaseException | None) -> None:
        try:
            if error is None and reply is not None and self._is_plain(reply):
                self._charged()
            else:
                self._go_on()
        except Exception as bug:
            self._failed(bug)

    @staticmethod
    def _is_plain(reply: Reply) -> bool:
        return reply.status == "ok" and not reply.marks and reply.outcome.startswith(CHARGED)

    def _charged(self) -> None:
        """What `RadiusExchange.done` does, without looking at what is known."""
        server, octets, sent, client = self._server, self._octets, self._learnt.template.sent, self._learnt.client
        self._owner.context.facts.keep(self._charge.session, sent.facts)
        self._off()
        try:
            answer = acknowledgement(octets, client.secret)
            server.window.done(self._key, octets[4:20], answer)
            if monotonic_us() - self._at_us > WANTED_US:
                server.silence("too late")
                return
            self._by.send(answer, self._key.source)
            server.count_interim(client, self._at_us)
        except Exception as bug:
            server.violated_by(octets, self._key.source, bug)

    def _go_on(self) -> None:
        """Continue the general way from the reply of the store."""
        serves, learnt, charge = self._owner.serves, self._learnt, self._charge
        assert serves is not None
        packet = Packet.decode(self._octets)
        arrived = Arrived(packet, learnt.client, self._key.source, charge.now_ms, self._at_us)
        sent = msgspec.structs.replace(learnt.template.sent, charge=charge, reply=self._asking)
        self._off()
        RadiusExchange(self._server, self._by, arrived, serves(arrived, sent), self._conduct, report=True)

    def _off(self) -> None:
        self._conduct.in_flight -= 1
        self._server.admission.off(True)

    def _failed(self, bug: Exception) -> None:
        self._off()
        self._server.window.forget(self._key, self._octets[4:20])
        self._server.violated_by(self._octets, self._key.source, bug)
