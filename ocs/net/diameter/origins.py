"""Origin-State-Id: which hosts lost their sessions (RFC 6733 section 8.16; charging.md section 8).

The highest value of each host is in the store, for a client may come back to any worker, and behind a relay it has no
connection of its own. A worker keeps the last value it heard of each host: only another one costs a call. What is to be
done about it is the keeper's (ocs/keeper/).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from balances import keys
from balances.redis.pending import Pending

HOSTS_MAX: Final = 16_384
"""Of how many hosts the value is kept; those beyond are served like hosts that do not say one."""


HOST_MAX: Final = 255
"""Octets of a host's name (RFC 1035); what is longer is no host, and would lie in the live store for ever."""


LOOK: Final = (("GET", keys.ORIGINS_CHANGES), ("ZCARD", keys.ORIGINS))
"""What is asked with each check of the fence."""


class OriginStore(Protocol):
    """The part of balances.redis.connection.RedisConnection that is needed here."""

    def command(self, *words: str | bytes | int) -> Pending[Any]: ...


class Origins:
    """
    ignores:  whether nothing is to be made of what this host says (profile `origin_state = "ignore"`)
    """

    def __init__(self, link: OriginStore, ignores: Callable[[str], bool]) -> None:
        self.heard: dict[str, int] = {}
        """Last value by Origin-Host, as spelled; a host with another value is to be noted."""
        self._link, self._ignores = link, ignores
        self._changes: bytes | None = None
        self._is_full = False

    def note(self, origin_host: str, value: int) -> None:
        """This host says so now. 0 says nothing."""
        if len(origin_host) > HOST_MAX:
            return
        if len(self.heard) >= HOSTS_MAX:
            self.heard.clear()
        self.heard[origin_host] = value  # before the store has it: the next requests of this turn need not ask too
        if not value or self._ignores(origin_host):
            return
        host, command = origin_host.lower(), self._link.command
        if not self._is_full:
            command("ZADD", keys.ORIGINS_ENDED, "NX", value, host)  # of its first value there is nothing to end
        only = ("XX",) if self._is_full else ()

        def rose(changed: Any, _error: BaseException | None) -> None:
            if changed:
                command("INCR", keys.ORIGINS_CHANGES)

        def compared(highest: Any, error: BaseException | None) -> None:
            if error is not None:
                self.heard.pop(origin_host, None)  # with the next request
            elif highest is not None and int(highest) > value:
                command("SADD", keys.ORIGINS_DOUBTED, host).then(rose)

        command("ZADD", keys.ORIGINS, *only, "GT", "CH", value, host).then(rose)
        command("ZSCORE", keys.ORIGINS, host).then(compared)

    def looked(self, replies: list[Any]) -> None:
        """Gets the answers to LOOK again and again: when any worker has heard something new, what all hosts say is
        compared anew. Two processes behind one Origin-Host may be on two workers, each of which hears one value
        only."""
        changes, count = replies
        if changes != self._changes:
            self._changes = changes
            self.heard.clear()
        self._is_full = count >= HOSTS_MAX
