"""The peer state machine (RFC 6733 section 5.6) and the watchdog (RFC 3539 section 3.4.1) as tables.

One machine runs per transport connection. The I- and R- halves of the RFC's table are the connections we dialled and
those we accepted; where it keeps two connections of one peer in one state (Wait-Conn-Ack/Elect, Wait-Returns), the
accepted one is ELECTING here and the dialled one stays where it is.
"""

from enum import Enum, auto


class PeerState(Enum):
    CONNECTING = "connecting"  # Wait-Conn-Ack: we dialled
    WAIT_CEA = "waiting for CEA"  # Wait-I-CEA
    WAIT_CER = "waiting for CER"  # accepted, nothing heard yet
    ELECTING = (
        "electing"  # Wait-Conn-Ack/Elect, Wait-Returns: CER is good, another connection of the peer is in the way
    )
    OPEN = "open"  # R-Open, I-Open
    CLOSING = "closing"  # we sent DPR
    LEAVING = "leaving"  # we answered a DPR; the receiver of the DPA closes (section 5.4.2)
    CLOSED = "closed"


class PeerEvent(Enum):
    CONNECTED = "connected"
    LOST = "connection lost"  # also: could not be connected
    TIMEOUT = "timeout"
    STOP = "stop"
    GOOD_CER = "CER"
    BAD_CER = "refused CER"
    RIVAL_CER = "CER of a peer that is connected already"
    WON = "election won"
    YIELDED = "election lost"
    GOOD_CEA = "CEA"
    BAD_CEA = "refusing CEA"
    DWR = "DWR"
    DWA = "DWA"
    DPR = "DPR"
    DPA = "DPA"
    REQUEST = "request"
    ANSWER = "answer"


class Do(Enum):
    SEND_CER = auto()
    SEND_CEA = auto()
    REFUSE_CER = auto()  # a CEA or error answer that says why, then close
    HOLD_CER = auto()  # answer it when the election is over
    SEND_DWA = auto()
    SEND_DPR = auto()
    SEND_DPA = auto()
    UP = auto()
    DELIVER = auto()
    MATCH = auto()  # an answer: to whom of us it belongs
    KEEP = auto()  # a message after a held CER: served in order when the connection opens
    REPEATED_CER = auto()
    CLOSE = auto()


S, E = PeerState, PeerEvent

TABLE: dict[tuple[PeerState, PeerEvent], tuple[tuple[Do, ...], PeerState]] = {
    # ---- we accepted
    (S.WAIT_CER, E.GOOD_CER): ((Do.SEND_CEA, Do.UP), S.OPEN),
    (S.WAIT_CER, E.RIVAL_CER): ((Do.HOLD_CER,), S.ELECTING),
    (S.WAIT_CER, E.BAD_CER): ((Do.REFUSE_CER, Do.CLOSE), S.CLOSED),
    (S.WAIT_CER, E.GOOD_CEA): ((Do.CLOSE,), S.CLOSED),  # section 5.6: the first message is a CER or the end
    (S.WAIT_CER, E.BAD_CEA): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CER, E.DWR): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CER, E.DWA): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CER, E.DPR): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CER, E.DPA): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CER, E.REQUEST): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CER, E.ANSWER): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CER, E.TIMEOUT): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CER, E.STOP): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CER, E.LOST): ((), S.CLOSED),
    (S.ELECTING, E.WON): ((Do.SEND_CEA, Do.UP), S.OPEN),
    (S.ELECTING, E.YIELDED): ((Do.CLOSE,), S.CLOSED),  # R-Reject, R-Disc
    (S.ELECTING, E.DWR): ((Do.KEEP,), S.ELECTING),
    (S.ELECTING, E.DPR): ((Do.KEEP,), S.ELECTING),
    (S.ELECTING, E.REQUEST): ((Do.KEEP,), S.ELECTING),
    (S.ELECTING, E.TIMEOUT): ((Do.CLOSE,), S.CLOSED),
    (S.ELECTING, E.STOP): ((Do.CLOSE,), S.CLOSED),
    (S.ELECTING, E.LOST): ((), S.CLOSED),
    # ---- we dialled
    (S.CONNECTING, E.CONNECTED): ((Do.SEND_CER,), S.WAIT_CEA),
    (S.CONNECTING, E.YIELDED): ((Do.CLOSE,), S.CLOSED),  # a dial that hangs costs nobody the connection that works
    (S.CONNECTING, E.TIMEOUT): ((Do.CLOSE,), S.CLOSED),
    (S.CONNECTING, E.STOP): ((Do.CLOSE,), S.CLOSED),
    (S.CONNECTING, E.LOST): ((), S.CLOSED),
    (S.WAIT_CEA, E.GOOD_CEA): ((Do.UP,), S.OPEN),
    (S.WAIT_CEA, E.BAD_CEA): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CEA, E.YIELDED): ((Do.CLOSE,), S.CLOSED),  # Win-Election: the connection of the peer stays
    (S.WAIT_CEA, E.GOOD_CER): ((Do.CLOSE,), S.CLOSED),  # I-Rcv-Non-CEA
    (S.WAIT_CEA, E.BAD_CER): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CEA, E.DWR): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CEA, E.DWA): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CEA, E.DPR): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CEA, E.DPA): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CEA, E.REQUEST): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CEA, E.ANSWER): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CEA, E.TIMEOUT): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CEA, E.STOP): ((Do.CLOSE,), S.CLOSED),
    (S.WAIT_CEA, E.LOST): ((), S.CLOSED),
    # ---- either
    (S.OPEN, E.REQUEST): ((Do.DELIVER,), S.OPEN),
    (S.OPEN, E.ANSWER): ((Do.MATCH,), S.OPEN),
    (S.OPEN, E.DWR): ((Do.SEND_DWA,), S.OPEN),
    (S.OPEN, E.DWA): ((), S.OPEN),
    (S.OPEN, E.GOOD_CER): ((Do.REPEATED_CER,), S.OPEN),  # not in the RFC's table, which speaks of other connections
    (S.OPEN, E.BAD_CER): ((Do.REPEATED_CER,), S.OPEN),
    (S.OPEN, E.DPR): ((Do.SEND_DPA,), S.LEAVING),
    (S.OPEN, E.STOP): ((Do.SEND_DPR,), S.CLOSING),
    (S.OPEN, E.YIELDED): ((Do.CLOSE,), S.CLOSED),  # silent when challenged by a newer connection
    (S.OPEN, E.TIMEOUT): ((Do.CLOSE,), S.CLOSED),  # the watchdog gave up
    (S.OPEN, E.LOST): ((), S.CLOSED),
    (S.CLOSING, E.DPA): ((Do.CLOSE,), S.CLOSED),
    (S.CLOSING, E.DPR): ((Do.SEND_DPA,), S.CLOSING),  # both at once
    (S.CLOSING, E.DWR): ((Do.SEND_DWA,), S.CLOSING),
    (S.CLOSING, E.REQUEST): ((Do.DELIVER,), S.CLOSING),  # it crossed our DPR and is still delivered
    (S.CLOSING, E.ANSWER): ((Do.MATCH,), S.CLOSING),
    (S.CLOSING, E.STOP): ((), S.CLOSING),
    (S.CLOSING, E.TIMEOUT): ((Do.CLOSE,), S.CLOSED),
    (S.CLOSING, E.LOST): ((), S.CLOSED),
    (S.LEAVING, E.DPR): ((Do.SEND_DPA,), S.LEAVING),
    (S.LEAVING, E.DWR): ((Do.SEND_DWA,), S.LEAVING),
    (S.LEAVING, E.REQUEST): ((Do.DELIVER,), S.LEAVING),
    (S.LEAVING, E.ANSWER): ((Do.MATCH,), S.LEAVING),  # answers in flight are drained
    (S.LEAVING, E.STOP): ((Do.CLOSE,), S.CLOSED),
    (S.LEAVING, E.TIMEOUT): ((Do.CLOSE,), S.CLOSED),
    (S.LEAVING, E.LOST): ((), S.CLOSED),
    (S.CLOSED, E.LOST): ((), S.CLOSED),
}


class Watchdog(Enum):
    """RFC 3539 keeps `Pending` (a DWR is unanswered) beside its states; here it is part of them."""

    OKAY = "okay"
    PROBING = "probing"  # OKAY, pending
    SUSPECT = "suspect"  # always pending
    REOPEN = "reopened"  # after it was down: three DWAs until it is trusted again
    REOPEN_PROBING = "reopened, probing"
    REOPEN_LATE = "reopened, late"  # NumDWA = -1


class Sign(Enum):
    MESSAGE = "a message"
    DWA = "DWA"
    THIRD_DWA = "third DWA"
    QUIET = "quiet for Tw"


class Care(Enum):
    NOTHING = auto()
    SEND_DWR = auto()
    FAIL_OVER = auto()
    FAIL_BACK = auto()
    RECOUNT = auto()  # NumDWA starts again
    GIVE_UP = auto()


W = Watchdog

WATCHDOG: dict[tuple[Watchdog, Sign], tuple[Care, Watchdog]] = {
    (W.OKAY, Sign.MESSAGE): (Care.NOTHING, W.OKAY),
    (W.OKAY, Sign.DWA): (Care.NOTHING, W.OKAY),
    (W.OKAY, Sign.QUIET): (Care.SEND_DWR, W.PROBING),
    (W.PROBING, Sign.MESSAGE): (Care.NOTHING, W.PROBING),  # alive; yet only a DWA answers a DWR
    (W.PROBING, Sign.DWA): (Care.NOTHING, W.OKAY),
    (W.PROBING, Sign.QUIET): (Care.FAIL_OVER, W.SUSPECT),
    (W.SUSPECT, Sign.MESSAGE): (Care.FAIL_BACK, W.PROBING),
    (W.SUSPECT, Sign.DWA): (Care.FAIL_BACK, W.OKAY),
    (W.SUSPECT, Sign.QUIET): (Care.GIVE_UP, W.SUSPECT),
    (W.REOPEN, Sign.MESSAGE): (Care.NOTHING, W.REOPEN),  # served all the same: it may be charging data
    (W.REOPEN, Sign.DWA): (Care.NOTHING, W.REOPEN),
    (W.REOPEN, Sign.QUIET): (Care.SEND_DWR, W.REOPEN_PROBING),
    (W.REOPEN_PROBING, Sign.MESSAGE): (Care.NOTHING, W.REOPEN_PROBING),
    (W.REOPEN_PROBING, Sign.DWA): (Care.NOTHING, W.REOPEN),
    (W.REOPEN_PROBING, Sign.THIRD_DWA): (Care.FAIL_BACK, W.OKAY),
    (W.REOPEN_PROBING, Sign.QUIET): (Care.NOTHING, W.REOPEN_LATE),
    (W.REOPEN_LATE, Sign.MESSAGE): (Care.NOTHING, W.REOPEN_LATE),
    (W.REOPEN_LATE, Sign.DWA): (Care.RECOUNT, W.REOPEN),
    (W.REOPEN_LATE, Sign.QUIET): (Care.GIVE_UP, W.REOPEN_LATE),
}


def is_elected(local: str, remote: str) -> bool:
    """Whether we, as responder, win: our Origin-Host is the greater one, in lower case (section 5.6.4)."""
    return local.lower() > remote.lower()
