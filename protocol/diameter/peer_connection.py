"""One transport connection to a peer: what happens becomes an event, the tables say what to do, actions are
returned."""

from typing import Any, Protocol

from protocol.diameter.dictionary import DICTIONARY
from protocol.diameter.dictionary.base import (
    CapabilitiesExchangeAnswer,
    CapabilitiesExchangeRequest,
    DeviceWatchdogAnswer,
    DeviceWatchdogRequest,
    DisconnectCause,
    DisconnectPeerAnswer,
    DisconnectPeerRequest,
    InbandSecurity,
)
from protocol.diameter.header import REQUEST
from protocol.diameter.local_node import LocalNode
from protocol.diameter.message import DiameterCommand
from protocol.diameter.peer_actions import (
    ActedOn,
    Actions,
    Close,
    DeliverAnswer,
    DeliverRequest,
    Dropped,
    PeerDown,
    PeerLeaving,
    PeerUp,
    Recovered,
    RemotePeer,
    Restarted,
    Send,
    Suspect,
)
from protocol.diameter.peer_machine import TABLE, WATCHDOG, Care, Do, PeerEvent, PeerState, Sign, Watchdog
from protocol.diameter.walk import NOBODY, Vendors
from protocol.errors import ProtocolError, ResultCode

MAX_KEPT = 4096  # messages kept while an election is on
MAX_PENDING = 65_536  # our own requests without an answer

BASE = {  # commands that are ours: events of the request and of the answer
    CapabilitiesExchangeRequest.code.to_bytes(3, "big"): (PeerEvent.GOOD_CER, PeerEvent.GOOD_CEA),
    DeviceWatchdogRequest.code.to_bytes(3, "big"): (PeerEvent.DWR, PeerEvent.DWA),
    DisconnectPeerRequest.code.to_bytes(3, "big"): (PeerEvent.DPR, PeerEvent.DPA),
}


class PeerConnection(ActedOn):
    """One transport connection. Made by PeerTable; every method returns what is to be done now."""

    def __init__(
        self,
        node: LocalNode,
        rivals: "Rivals",
        state: PeerState,
        origin_host: str | None,
        due_ms: int,
        reopened: bool,
    ) -> None:
        self.node, self._rivals, self.state, self.dialled, self.reopened = node, rivals, state, origin_host, reopened
        self.peer: RemotePeer | None = None
        self.due_ms = due_ms
        self.watch = Watchdog.OKAY
        self.rival: PeerConnection | None = None  # ELECTING: whom we wait for
        self.challenger: PeerConnection | None = None  # the other side of `rival`
        self._plain = False  # open and nothing special: requests take the short way
        self.ignored: Vendors = NOBODY
        """Vendors whose AVPs we do not know are passed over in what this peer sends."""
        self._is_up = False
        self._heard_ms = self._armed_ms = 0
        self._watchdogs = 0  # NumDWA of RFC 3539
        self._cer = b""
        self._wrong: ProtocolError | ResultCode | int | None = None  # why the capabilities were refused
        self._cause = DisconnectCause.REBOOTING
        self._kept: list[bytes] = []
        self._pending: dict[int, Any] = {}
        self._hop_by_hop = node.next_end_to_end()

    def __repr__(self) -> str:
        return f"<{self.peer.origin_host if self.peer else self.dialled or 'unknown peer'}, {self.state.value}>"

    # ---- what the owner reports

    def connected(self, now_ms: int) -> Actions:
        """The connection we dialled is up."""
        return self._run(PeerEvent.CONNECTED, now_ms)

    def lost(self, now_ms: int) -> Actions:
        """The transport is gone, or never came up."""
        return self._run(PeerEvent.LOST, now_ms)

    def stop(self, cause: DisconnectCause, now_ms: int) -> Actions:
        self._cause = cause
        return self._run(PeerEvent.STOP, now_ms)

    def received(self, frame: bytes, now_ms: int) -> Actions:
        """A frame of at least 20 octets, as FrameBuffer gives it."""
        self._heard_ms = now_ms
        if self._plain and frame[4] & REQUEST and frame[5:8] not in BASE:
            return [DeliverRequest(self, frame)]
        actions: Actions = []
        self._take(frame, now_ms, actions)
        return actions

    def send_request(self, message: DiameterCommand, token: Any, now_ms: int) -> Actions:
        """One of our own requests; `token` comes back with its answer. ValueError when the connection is not open or
        has too many unanswered."""
        if self.state is not PeerState.OPEN or len(self._pending) >= MAX_PENDING:
            raise ValueError(f"{self} takes no request, {len(self._pending)} unanswered")
        self._hop_by_hop = self._hop_by_hop + 1 & 0xFFFFFFFF
        self._pending[self._hop_by_hop] = token
        return [Send(self, message.encode(hop_by_hop=self._hop_by_hop, end_to_end=self.node.next_end_to_end()))]

    def forget(self, token: Any) -> None:
        """The caller no longer waits for that answer; it will be dropped."""
        self._pending = {hop: other for hop, other in self._pending.items() if other is not token}

    @property
    def is_usable(self) -> bool:
        """Open and not suspected: new requests may go here."""
        return self.state is PeerState.OPEN and self.watch in (Watchdog.OKAY, Watchdog.PROBING)

    # ---- from happenings to events

    def _run(self, event: PeerEvent, now_ms: int) -> Actions:
        actions: Actions = []
        self.step(event, b"", now_ms, actions)
        return actions

    def _take(self, frame: bytes, now_ms: int, actions: Actions) -> None:
        event = self._event_of(frame)
        if self.state is PeerState.OPEN:
            self._care(Sign.DWA if event is PeerEvent.DWA else Sign.MESSAGE, now_ms, actions)
            if self.challenger is not None:  # alive after all
                self.challenger.step(PeerEvent.YIELDED, b"", now_ms, actions)
        self.step(event, frame, now_ms, actions)

    def _event_of(self, frame: bytes) -> PeerEvent:
        is_request = bool(frame[4] & REQUEST)
        pair = BASE.get(frame[5:8])
        if pair is None:
            return PeerEvent.REQUEST if is_request else PeerEvent.ANSWER
        event = pair[0] if is_request else pair[1]
        if event is PeerEvent.GOOD_CER and self.state is PeerState.WAIT_CER:
            return self._judge_cer(frame)
        if event is PeerEvent.GOOD_CEA and self.state is PeerState.WAIT_CEA:
            return self._judge_cea(frame)
        return event

    def _judge_cer(self, frame: bytes) -> PeerEvent:
        """RFC 6733 section 5.3. What is wrong is kept for REFUSE_CER."""
        node = self.node
        try:
            cer = CapabilitiesExchangeRequest.decode(frame, self.ignored)
        except ProtocolError as error:
            self._wrong = error
            return PeerEvent.BAD_CER
        self.peer = peer = node.peer_of(cer)
        if not node.admit(cer):
            self._wrong = ResultCode.UNKNOWN_PEER
        elif not peer.applications:
            self._wrong = ResultCode.NO_COMMON_APPLICATION
        elif cer.inband_security_id and InbandSecurity.NO_INBAND_SECURITY not in cer.inband_security_id:
            self._wrong = ResultCode.NO_COMMON_SECURITY
        if self._wrong is not None:
            return PeerEvent.BAD_CER
        self._cer = frame
        self.rival = self._rivals.rival_of(self)
        return PeerEvent.GOOD_CER if self.rival is None else PeerEvent.RIVAL_CER

    def _judge_cea(self, frame: bytes) -> PeerEvent:
        try:
            cea = DICTIONARY.decode(frame, self.ignored)
        except ProtocolError as error:
            self._wrong = error
            return PeerEvent.BAD_CEA
        if not isinstance(cea, CapabilitiesExchangeAnswer):  # an answer with the E bit
            self._wrong = getattr(cea, "result_code", None)
            return PeerEvent.BAD_CEA
        self.peer = self.node.peer_of(cea)
        if cea.result_code // 1000 != 2:
            self._wrong = cea.result_code
        elif not self.peer.applications:
            self._wrong = ResultCode.NO_COMMON_APPLICATION
        return PeerEvent.GOOD_CEA if self._wrong is None else PeerEvent.BAD_CEA

    # ---- from events to actions

    def step(self, event: PeerEvent, frame: bytes, now_ms: int, actions: Actions) -> None:
        found = TABLE.get((self.state, event))
        if found is None:
            actions.append(Dropped(self, frame, f"{event.value} while {self.state.value}"))
            return
        why = f"{event.value} while {self.state.value}"
        todo, after = found
        before, self.state = self.state, after
        for do in todo:
            self._do(do, frame, why, now_ms, actions)
        if after is not before:
            self._entered(event, frame, now_ms, actions)
        self._plain = self.state is PeerState.OPEN and self.watch is Watchdog.OKAY and self.challenger is None

    def _do(self, do: Do, frame: bytes, why: str, now_ms: int, actions: Actions) -> None:
        node, local = self.node, self.node.local
        match do:
            case Do.DELIVER:
                actions.append(DeliverRequest(self, frame))
            case Do.MATCH:
                hop_by_hop = int.from_bytes(frame[12:16], "big")
                if hop_by_hop in self._pending:
                    actions.append(DeliverAnswer(self, frame, self._pending.pop(hop_by_hop)))
                else:  # section 6.2.1: an answer to nothing is dropped
                    actions.append(Dropped(self, frame, "answer to nothing"))
            case Do.SEND_CER:
                cer = CapabilitiesExchangeRequest(**node.capabilities)
                actions.append(Send(self, self._own(cer)))
            case Do.SEND_CEA:
                cea = CapabilitiesExchangeAnswer(result_code=ResultCode.SUCCESS, **node.capabilities)
                actions.append(Send(self, cea.answer(CapabilitiesExchangeRequest.decode(self._cer, self.ignored))))
            case Do.REFUSE_CER:
                actions.append(Send(self, self._refusal(frame)))
            case Do.REPEATED_CER:
                refusal = ProtocolError("capabilities are exchanged once")
                actions.append(Send(self, node.error(frame, refusal)))
            case Do.SEND_DWA:
                self._answer_watchdog(frame, actions)
            case Do.SEND_DPR:
                dpr = DisconnectPeerRequest(
                    origin_host=local.origin_host, origin_realm=local.origin_realm, disconnect_cause=self._cause
                )
                actions.append(Send(self, self._own(dpr)))
            case Do.SEND_DPA:
                self._answer_disconnect(frame, actions)
            case Do.KEEP:
                self._kept.append(frame)
                if len(self._kept) > MAX_KEPT:
                    self.step(PeerEvent.YIELDED, b"", now_ms, actions)
            case Do.UP:
                assert self.peer is not None
                self._is_up = True
                actions.append(PeerUp(self, self.peer))
                self._note_origin_state(self.peer.origin_state_id, actions)
            case Do.CLOSE:
                actions.append(Close(self, why, "" if self._wrong is None else str(self._wrong)))
            case Do.HOLD_CER:
                pass  # judged and remembered already

    def _entered(self, event: PeerEvent, frame: bytes, now_ms: int, actions: Actions) -> None:
        """What every way into a state has in common: its timer, and what others wait for."""
        timers = self.node.timers
        match self.state:
            case PeerState.WAIT_CEA:
                self.due_ms = now_ms + timers.capabilities_ms
                self._rivals.elect(self, now_ms, actions)
            case PeerState.ELECTING:
                assert self.rival is not None
                self.rival.challenger = self
                self.rival._plain = False
                self.due_ms = now_ms + timers.challenge_ms
                self._rivals.elect(self.rival, now_ms, actions)
            case PeerState.OPEN:
                self._arm(now_ms)
                self._resolve(PeerEvent.YIELDED, now_ms, actions)  # I-Rcv-CEA: R-Disc
                if self.reopened:
                    self.watch = Watchdog.REOPEN_PROBING
                    actions += [Suspect(self, ()), Send(self, self.watchdog())]
                kept, self._kept = self._kept, []
                for message in kept:
                    self._take(message, now_ms, actions)
            case PeerState.CLOSING | PeerState.LEAVING:
                self.due_ms = now_ms + timers.disconnect_ms
            case PeerState.CLOSED:
                self._rivals.ended(self)
                if self.rival is not None:
                    self.rival.challenger = None
                    self.rival = None
                if self._is_up and self.peer is not None:
                    unanswered, self._pending = tuple(self._pending.values()), {}
                    actions.append(PeerDown(self, self.peer, unanswered))
                self._resolve(PeerEvent.WON, now_ms, actions)  # I-Peer-Disc, I-Rcv-Conn-Nack: R-Snd-CEA

    def _resolve(self, event: PeerEvent, now_ms: int, actions: Actions) -> None:
        """Tell the connections that wait for this one."""
        challenger, self.challenger = self.challenger, None
        if challenger is not None:
            challenger.rival = None
            challenger.step(event, b"", now_ms, actions)

    # ---- time

    def tick(self, now_ms: int, actions: Actions) -> None:
        """The time that was due has come."""
        if self.state is PeerState.OPEN:
            if self._heard_ms > self._armed_ms:  # any message restarts Tw; done here so that messages cost nothing
                self._arm(self._heard_ms)
            if self.due_ms <= now_ms:
                self._care(Sign.QUIET, now_ms, actions)
        elif self.state is PeerState.ELECTING and self.rival is not None:
            self.rival.step(PeerEvent.YIELDED, b"", now_ms, actions)  # silent: the newer connection is the live one
        else:
            self.step(PeerEvent.TIMEOUT, b"", now_ms, actions)

    def _arm(self, from_ms: int) -> None:
        # RFC 3539 section 3.4.1: Tw = Twinit + jitter, drawn anew each time.
        self._armed_ms = self._heard_ms = from_ms
        self.due_ms = from_ms + self.node.timers.watchdog_ms + self.node.jitter_ms()

    def _care(self, sign: Sign, now_ms: int, actions: Actions) -> None:
        if sign is Sign.DWA and self.watch is Watchdog.REOPEN_PROBING:
            self._watchdogs += 1
            sign = Sign.THIRD_DWA if self._watchdogs >= 3 else sign
        care, self.watch = WATCHDOG[self.watch, sign]
        match care:
            case Care.SEND_DWR:
                actions.append(Send(self, self.watchdog()))
            case Care.FAIL_OVER:
                actions.append(Suspect(self, tuple(self._pending.values())))
            case Care.FAIL_BACK:
                actions.append(Recovered(self))
            case Care.RECOUNT:
                self._watchdogs = 0
            case Care.GIVE_UP:
                self.step(PeerEvent.TIMEOUT, b"", now_ms, actions)
            case Care.NOTHING:
                pass
        if sign is Sign.QUIET:
            self._arm(now_ms)
        self._plain = self.state is PeerState.OPEN and self.watch is Watchdog.OKAY and self.challenger is None

    # ---- messages of our own

    def _own(self, request: DiameterCommand) -> bytes:
        self._hop_by_hop = self._hop_by_hop + 1 & 0xFFFFFFFF
        return request.encode(hop_by_hop=self._hop_by_hop, end_to_end=self.node.next_end_to_end())

    def watchdog(self) -> bytes:
        local = self.node.local
        return self._own(
            DeviceWatchdogRequest(
                origin_host=local.origin_host, origin_realm=local.origin_realm, origin_state_id=local.origin_state_id
            )
        )

    def _refusal(self, frame: bytes) -> bytes:
        wrong = self._wrong
        if isinstance(wrong, ResultCode) and wrong is not ResultCode.UNKNOWN_PEER:
            # Section 5.3: the whole CEA, so that the other side sees what we would have had.
            cea = CapabilitiesExchangeAnswer(result_code=wrong, **self.node.capabilities)
            return cea.answer(CapabilitiesExchangeRequest.decode(frame, self.ignored))
        assert isinstance(wrong, (ProtocolError, ResultCode))
        return self.node.error(frame, wrong)

    def _answer_watchdog(self, frame: bytes, actions: Actions) -> None:
        local = self.node.local
        try:
            dwr = DeviceWatchdogRequest.decode(frame, self.ignored)
        except ProtocolError as error:
            actions.append(Send(self, self.node.error(frame, error)))
            return
        dwa = DeviceWatchdogAnswer(
            result_code=ResultCode.SUCCESS,
            origin_host=local.origin_host,
            origin_realm=local.origin_realm,
            origin_state_id=local.origin_state_id,
        )
        actions.append(Send(self, dwa.answer(dwr)))
        self._note_origin_state(dwr.origin_state_id, actions)

    def _answer_disconnect(self, frame: bytes, actions: Actions) -> None:
        local = self.node.local
        cause: DisconnectCause | None = None
        try:
            dpr = DisconnectPeerRequest.decode(frame, self.ignored)
        except ProtocolError as error:  # it leaves all the same
            actions.append(Send(self, self.node.error(frame, error)))
        else:
            cause = dpr.disconnect_cause
            dpa = DisconnectPeerAnswer(
                result_code=ResultCode.SUCCESS, origin_host=local.origin_host, origin_realm=local.origin_realm
            )
            actions.append(Send(self, dpa.answer(dpr)))
        actions.append(PeerLeaving(self, cause))

    def _note_origin_state(self, origin_state_id: int | None, actions: Actions) -> None:
        assert self.peer is not None
        if origin_state_id is not None and self.node.origins.rose(self.peer.origin_host, origin_state_id):
            actions.append(Restarted(self, self.peer.origin_host, origin_state_id))


class Rivals(Protocol):
    """The other connections (`peer.PeerTable`): which of two to the same peer gives way."""

    def rival_of(self, newcomer: PeerConnection) -> PeerConnection | None:
        """The connection that keeps this newcomer from being opened at once."""

    def elect(self, rival: PeerConnection, now_ms: int, actions: Actions) -> None:
        """Decide between a connection and its challenger as far as it can be decided now (section 5.6.4)."""

    def ended(self, connection: PeerConnection) -> None:
        """This connection is no longer a rival of another one."""
