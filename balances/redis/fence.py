"""The fence of a connection: which shards its server may be called for, each under which epoch (durability.md rule 4).

A shard is open here while the server is a master and the shard's own key says that this server's history is the open
one. The keeper writes that key for each shard, so that a failover shuts the shards of one primary and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from balances import keys
from balances.redis.calls import pack_words

INFO: Final = ("INFO", "replication")

TIME: Final = ("TIME",)

SHUT: Final = "the store is not open: PostgreSQL has to prove it first"

ALL: Final = range(keys.SHARDS)
"""The shards of a store of one primary."""


class Pass(NamedTuple):
    """What is known of a server."""

    epochs: Mapping[str, bytes]
    """Of each open shard, by the number that stands in its tag."""
    newest: bytes | None
    """Of these; None: no call may be made at all."""
    why: str
    """Why a shard is not open; "": all are."""

    @classmethod
    def of(cls, epochs: Mapping[str, bytes], why: str) -> Pass:
        return cls(epochs, max(epochs.values(), key=int, default=None), why)


class Fence:
    """
    shards:    those that the server is the primary of
    together:  one command may read the keys of several shards: not in a cluster, where each is in a slot of its own
    unfenced:  take any master for open (tests of the scripts alone)
    """

    def __init__(self, shards: Iterable[int] = ALL, *, together: bool = True, unfenced: bool = False) -> None:
        self._together, self._unfenced = together, unfenced
        self.own(shards)

    def own(self, shards: Iterable[int]) -> None:
        """From now on these are the server's; what was asked of it before is not judged any more."""
        self.shards = tuple(shards)
        self._numbers = [keys.NUMBERS[shard] for shard in self.shards]
        names = [keys.published(shard) for shard in self.shards]
        self.questions: list[tuple[str, ...]] = (
            [("MGET", *names)] if self._together else [("GET", one) for one in names]
        )
        """What is asked of the server besides INFO."""
        self.packed = [pack_words(words) for words in self.questions]
        """The same as they stand on the wire: to pack names of 256 keys took most of a check."""
        self._said: tuple[Any, ...] = ()
        self._pass = Pass({}, None, SHUT)

    def judge(self, info: bytes, replies: Sequence[Any]) -> Pass:
        """By what the server said to INFO and to `questions`: the same object as the last time if it said the same. An
        error in place of a value says that the shard is not here."""
        published = replies[0] if self._together else replies
        facts = dict(line.split(b":", 1) for line in info.split(b"\r\n") if b":" in line)
        said = facts[b"role"], facts[b"master_replid"], published
        if said != self._said:
            self._said, self._pass = said, self._judged(*said)
        return self._pass

    def _judged(self, role: bytes, history: bytes, published: Sequence[Any]) -> Pass:
        if role != b"master":
            return Pass({}, None, "the server is not a master")
        if not self._numbers:  # nothing of any shard is here, and what has no shard is bound to no history
            return Pass({}, b"0", "")
        if self._unfenced:
            return Pass.of(dict.fromkeys(self._numbers, b"0"), "")
        here = history + b" "
        epochs = {
            number: one[len(here) :]
            for number, one in zip(self._numbers, published, strict=True)
            if isinstance(one, bytes) and one.startswith(here)
        }
        return Pass.of(epochs, "" if len(epochs) == len(self._numbers) else SHUT)
