"""A call on its way to a server, and how it can end without a reply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import hiredis

from balances import keys
from balances.redis.pending import Pending

Words = tuple[Any, ...]

LATE_MS: Final = 10_000
"""A reply that has not come by then is wanted by nobody."""

pack_words: Callable[[Words], bytes] = hiredis.pack_command
"""One command as it stands on the wire."""


class NotSent(ConnectionError):
    """The call was certainly not sent: 3004 may be said."""


class Lost(ConnectionError):
    """The call was sent and its fate is not known: say nothing, the client will ask again."""


class RedisCall(Pending[Any]):
    """One command on its way. `pack(epoch)` writes it, again when it has to be sent again."""

    __slots__ = (
        *("again", "deadline", "decode", "hops", "number", "pack"),
        *("repeatable", "script", "sent_ms", "wanted_until", "was_cut"),
    )

    def __init__(
        self,
        pack: Callable[[bytes], bytes],
        decode: Callable[[Any], Any] | None,
        sent_ms: int,
        within_ms: int,
        script: str | None,
        number: str,
        *,
        repeatable: bool = True,
    ) -> None:
        self.settled = False  # here and not by Pending: one is made for each request
        self._value = self._error = self._callback = None
        self.pack = pack
        self.decode = decode
        self.sent_ms = sent_ms
        self.deadline = sent_ms + within_ms
        """Until then it may be sent again."""
        self.wanted_until = sent_ms + max(within_ms, LATE_MS)
        self.script = script
        self.number = number
        """Of its shard, as it stands in a tag; "": it is of none."""
        self.repeatable = repeatable
        self.again = not repeatable
        """It was sent again, or never is."""
        self.hops = 0
        """How often a server redirected it."""
        self.was_cut = False
        """It was sent, and may have been executed."""


def number_in(words: Words) -> str:
    """The shard that a command is of, by its first key, as it stands in the tag; "": of none."""
    key = words[1] if len(words) > 1 else ""
    return key[keys.NUMBER_IN_TAG] if isinstance(key, str) and key.startswith("{s") else ""


class FenceQuestion(RedisCall):
    """A command of the check itself, which needs no fence; what it is refused with says something of the server."""

    __slots__ = ()


class ReplicaMark(FenceQuestion):
    """A write of our own, behind those of calls, for the replicas to have."""

    __slots__ = ()


class ReplicaQuestion(FenceQuestion):
    """Asks how many replicas have what was written before it."""

    __slots__ = ()
