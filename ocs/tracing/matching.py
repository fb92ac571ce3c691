"""Whether a message is one that somebody wants to see, found without decoding those that are not.

A message can only be about an identity whose end it contains, or about a session whose name it contains; it is decoded
only then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from balances.keys import session_keys_of, session_name
from ocs.tracing.wish import TraceWish

SESSIONS_MAX: Final = 10_000
"""Sessions of one trace that are known by having been seen."""
TAIL: Final = 4
"""Characters at the end of an identity that are looked for: what is written between those before differs."""

WhoAndWhat = tuple[tuple[str, ...], str]
"""Identities, and the key of the session."""


class WatchedFor:
    """A wish, and what was learnt since it is known here."""

    def __init__(self, wish: TraceWish) -> None:
        self.wish = wish
        self.dropped = 0
        self._peer = wish.peer.lower()
        self._identities = frozenset(wish.identities)
        self._tails = tuple({tail for one in wish.identities for tail in _tails(one)})
        self._sessions: dict[str, None] = {}
        self._names: set[bytes] = set()
        for session in (*(session_keys_of(wish.session) if wish.session else ()), *wish.sessions):
            self.learn(session)

    def renewed(self, wish: TraceWish) -> None:
        """The same trace, as it is wished for now."""
        self.wish = wish
        for session in wish.sessions:
            self.learn(session)

    def learn(self, session: str) -> None:
        """What follows in this session is wanted too."""
        if session not in self._sessions and len(self._sessions) < SESSIONS_MAX:
            self._sessions[session] = None
            self._names.add(_needle(session))

    def wants_peer(self, names: tuple[str, ...]) -> bool:
        return bool(self._peer) and any(self._peer == name.lower() for name in names)

    def wants(self, octets: bytes, lowered: bytes, session_id: bytes, ask: Callable[[], WhoAndWhat | None]) -> bool:
        """
        lowered:     the same in lower case
        session_id:  Session-Id of a Diameter message; b"": it is none
        ask:         decodes it, at most once; None: it cannot be understood
        """
        if session_id:
            if session_id in self._names:
                return True
        elif self._names and any(name in octets for name in self._names):
            found = ask()
            if found is not None and found[1] in self._sessions:
                return True
        if any(tail in lowered for tail in self._tails):
            found = ask()
            if found is not None and not self._identities.isdisjoint(found[0]):
                self.learn(found[1])
                return True
        return False


def _needle(session: str) -> bytes:
    """What a message of this session contains. A Session-Id is there as it is; of the name of another protocol's
    session what comes last."""
    try:
        name = session_name(session).session_id
    except ValueError:
        name = session
    if name.startswith(("radius:", "http:")):
        name = name.rpartition(";")[2]
    return name.encode()


def _tails(identity: str) -> tuple[bytes, ...]:
    """Of a MAC address the last two octets, as they may be written; of an address what comes before the realm."""
    kind, _, text = identity.lower().partition(":")
    if kind == "mac":
        return tuple(f"{text[-4:-2]}{between}{text[-2:]}".encode() for between in ("", "-", ":", "."))
    return (text.partition("@")[0][-TAIL:].encode(),)
