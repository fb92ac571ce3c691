"""The run: whenever a packet may be sent, the next call sends its own. As loadtest/bras/run.py, for voice gateways."""

import asyncio
import random
import time
from collections import deque

from loadtest.bras.run import DRAIN_S, IN_FLIGHT_AT_END, REJECTED_PAUSE_S, BrasStats
from loadtest.bras.wire import BrasNetwork, BrasRequest, BrasSocket, RadiusTarget
from loadtest.pace import Pacer, plan
from loadtest.pricing import LoadPrice
from loadtest.runner import AuditDues
from loadtest.voip.call import CallLeg, CallStage, VoipCall, access_packet, caller, counted_s, leg_packet
from loadtest.voip.scenario import VoipScenario
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.cisco import H323_CREDIT_AMOUNT, H323_CREDIT_TIME, H323_RETURN_CODE
from protocol.radius.packet import Packet

ACCEPT = PacketCode.ACCESS_ACCEPT


class VoipRun:
    """Plays a scenario against `target`: `open`, then `play`, then `finish`, then `close`."""

    def __init__(self, target: RadiusTarget, scenario: VoipScenario, *, seed: int = 0) -> None:
        self.scenario, self.target = scenario, target
        self.rng = random.Random(seed)
        self.network = BrasNetwork(
            target.secret, timeout_s=scenario.timeout_s, give_up_s=scenario.give_up_s,
            loss=scenario.loss, repeat=scenario.repeat, late_s=scenario.late_s, seed=seed + 1,
        )  # fmt: skip
        self.recent, self.total = BrasStats(), BrasStats()
        self.dues = AuditDues(-(-scenario.subscribers // scenario.accounts_shared_by))
        self.calls: set[VoipCall] = set()
        self.wrong: list[str] = []
        """Answers that no gateway could use, and wrong PINs that were let in."""
        self.cut = 0
        """Calls that ended when the server had said."""
        self._sockets: list[tuple[list[BrasSocket], list[BrasSocket]]] = []
        """Of each gateway, towards the authentication and the accounting port."""
        self._price = LoadPrice(scenario.price.price, scenario.price.block)
        self._idle: deque[VoipCall] = deque()
        self._free = deque(range(scenario.subscribers))
        self._ending = False

    async def open(self) -> None:
        host, auth, acct, _, source = self.target
        for _ in range(self.scenario.gateways):
            pair: tuple[list[BrasSocket], list[BrasSocket]] = ([], [])
            for _ in range(self.scenario.sockets):
                for sockets, port in zip(pair, (auth, acct), strict=True):
                    sockets.append(await self.network.open(host, port, source))
            self._sockets.append(pair)

    async def close(self) -> None:
        await self.network.stop()

    # ---- the ways to run

    async def play(self) -> None:
        """Open loop at the scenario's rate."""
        scenario = self.scenario
        pacer = Pacer(plan(scenario.rate, scenario.pacing, self.rng), self._fire)
        pacer.start()
        try:
            await asyncio.sleep(scenario.duration_s)
        finally:
            pacer.stop()

    async def finish(self, wait_s: float = DRAIN_S) -> None:
        """Ends every call and waits for the answers. What stays unanswered is in doubt."""
        self._ending, end = True, time.monotonic() + wait_s
        while self.calls and time.monotonic() < end:
            for _ in range(min(len(self._idle), max(0, IN_FLIGHT_AT_END - self.network.in_flight))):
                self._fire(time.monotonic_ns())
            await asyncio.sleep(0.005)
        for call in self.calls:
            self._leave_open(call)
        self.turn_page()

    def turn_page(self) -> BrasStats:
        """What happened since the last call."""
        recent, self.recent = self.recent, BrasStats()
        recent.until_ns = self.recent.since_ns
        self.total.add(recent)
        return recent

    # ---- one packet, one answer

    def _fire(self, planned_ns: int) -> bool:
        """Sends the next packet of some call; False when there is none, or no identifier is free."""
        begins = self._free and not self._ending and len(self.calls) < self.scenario.calls
        if begins and (not self._idle or self.rng.random() < 1 / len(CallStage)):
            who = caller(self._free.popleft(), self.scenario.accounts_shared_by)
            call = VoipCall(self.scenario, self._price, who, self.rng)
            self.calls.add(call)
        elif self._idle:
            call = self._idle.popleft()
        else:
            return False
        if self._ending and call.stage < CallStage.BEGIN:
            self._over(call)
            return True
        if not self._send(call, planned_ns):
            self._idle.appendleft(call)
            return False
        if call.left:
            self._idle.append(call)
        else:
            self._go_on(call)
        return True

    def _send(self, call: VoipCall, planned_ns: int) -> bool:
        leg = call.left[0]
        logs_in = call.stage < CallStage.BEGIN
        taken = self._take(self._sockets[leg.gateway][not logs_in])
        if taken is None:
            return False
        socket, identifier = taken
        call.left.pop(0)
        if logs_in:
            octets = access_packet(call, leg, identifier, self.rng.randbytes(16), self.target.secret)
        else:
            octets = leg_packet(call, leg, identifier, self.target.secret)
        stage = call.stage
        is_late = stage is CallStage.BEGIN and self.rng.random() < self.scenario.reorder
        late_s = self.rng.random() * self.scenario.late_s if is_late else 0.0
        call.late += is_late
        call.outstanding += not is_late
        if stage is CallStage.END and self._is_charged(leg):
            call.sent_s = max(call.sent_s, counted_s(call.connected_ms(leg)))

        def answered(request: BrasRequest, reply: Packet | None, now_ns: int) -> None:
            call.late -= is_late
            call.outstanding -= not is_late
            self._count(stage, reply, request, now_ns)
            if logs_in:
                self._logged_in(call, stage, reply)
            else:
                self._reported(call, stage, leg, reply is not None)
            self._go_on(call)

        socket.send(BrasRequest(octets, answered, planned_ns), late_s=late_s)
        return True

    def _take(self, sockets: list[BrasSocket]) -> tuple[BrasSocket, int] | None:
        """A socket with a free identifier."""
        start = self.rng.randrange(len(sockets))
        for socket in (*sockets[start:], *sockets[:start]):
            if (identifier := socket.take()) is not None:
                return socket, identifier
        return None

    def _is_charged(self, leg: CallLeg) -> bool:
        return self.scenario.charged_leg in ("any", leg.origin)

    def _count(self, stage: CallStage, reply: Packet | None, request: BrasRequest, now_ns: int) -> None:
        said = "no answer" if reply is None else PacketCode(reply.code).name.replace("_", "-").capitalize()
        self.recent.results[f"{stage.name.capitalize()}: {said}"] += 1
        if reply is not None:
            histogram = self.recent.auth_us if stage < CallStage.BEGIN else self.recent.acct_us
            histogram.record_value(max(1, (now_ns - request.planned_ns) // 1_000))

    def _logged_in(self, call: VoipCall, stage: CallStage, reply: Packet | None) -> None:
        if reply is None or reply.code != ACCEPT:
            if reply is not None and not _value(reply, H323_RETURN_CODE.name):
                self.wrong.append(f"{call.caller.user}: rejected without h323-return-code")
            self._over(call)
            return
        if call.wrong_pin:
            self.wrong.append(f"{call.caller.user}: a wrong PIN was accepted")
        needed = H323_CREDIT_AMOUNT if stage is CallStage.ACCOUNT else H323_CREDIT_TIME
        value = _value(reply, needed.name)
        if not value:
            self.wrong.append(f"{call.caller.user}: accepted without {needed.name}")
        elif stage is CallStage.DESTINATION:
            self.cut += int(value) < call.length_s
            call.may_last(int(value))

    def _reported(self, call: VoipCall, stage: CallStage, leg: CallLeg, is_acknowledged: bool) -> None:
        if stage is CallStage.END and is_acknowledged and self._is_charged(leg):
            seconds = counted_s(call.connected_ms(leg))
            self.dues.micro[call.caller.account] += call.acknowledged(seconds)
            self.dues.reports += 1

    def _go_on(self, call: VoipCall) -> None:
        """The next stage, when all packets of this one are sent and answered."""
        if call.outstanding or call.left:
            return
        if call.stage is not CallStage.OVER:
            call.next_stage()
        if call.stage is not CallStage.OVER:
            self._idle.append(call)
        elif not call.late and call in self.calls:
            self.calls.remove(call)
            self._free.append(call.caller.place)
            if call.in_doubt():
                self._leave_open(call)

    def _over(self, call: VoipCall) -> None:
        """It is not made: the caller tries again after a while."""
        call.stage, call.left = CallStage.OVER, []
        self.calls.discard(call)
        asyncio.get_running_loop().call_later(REJECTED_PAUSE_S, self._free.append, call.caller.place)

    def _leave_open(self, call: VoipCall) -> None:
        self.dues.left_open.setdefault(call.caller.account, []).append(call.in_doubt())


def _value(reply: Packet, name: str) -> str:
    """Of an attribute that repeats its name in front of the value; "" where it is not there."""
    attribute = {one.name: one for one in (H323_CREDIT_AMOUNT, H323_CREDIT_TIME, H323_RETURN_CODE)}[name]
    return (reply.get(attribute) or "").removeprefix(f"{name}=")
