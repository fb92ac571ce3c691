"""What replicas have of a call before it is answered (durability.md, `replicated`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class ReplicaPromise(NamedTuple):
    replicas: int = 0
    """So many have it; 0: nobody is asked."""
    on_disk: bool = False
    """On disk there, and at the primary (WAITAOF, of Redis 7.2 and Valkey); else in memory (WAIT)."""

    def questions(self, within_ms: int) -> Sequence[tuple[str | int, ...]]:
        """Ask for what this connection wrote before; the reply to the last of them says it.

        Asked at once, a replica answers WAITAOF with what it had on disk before it wrote this, and again only a second
        later. So WAIT is asked first: who has acknowledged that has it on disk too (`appendfsync always` writes before
        it answers), and says so when it is asked the second time."""
        in_memory = ("WAIT", self.replicas, within_ms)
        return (in_memory, ("WAITAOF", 1, self.replicas, within_ms)) if self.on_disk else (in_memory,)

    def unmet(self, reply: Any) -> str:
        """Who lacks it, by the reply; "" where it is as was promised."""
        here, there = reply if self.on_disk else (1, reply)
        if not here:
            return "it is not on the primary's disk"
        return "" if there >= self.replicas else f"{there} of {self.replicas} replicas have it"


NOBODY = ReplicaPromise()
ONE = ReplicaPromise(1)
