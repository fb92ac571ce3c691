"""What calls the live store: one connection to a plain store, or to the primary that Sentinels name,
several to a cluster. Both have this form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from balances.redis.calls import RedisCall
from balances.redis.news import NewsTeller
from balances.redis.pending import Pending


class StoreLink(Protocol):
    """connection.py says what each of these does; a call that fails, fails with NotSent or Lost."""

    news: NewsTeller
    lost: Counter[str]
    refused: str

    @property
    def clock_offset_ms(self) -> int: ...
    @property
    def epoch(self) -> bytes | None: ...
    @property
    def epochs(self) -> Mapping[str, bytes]: ...
    @property
    def open_shards(self) -> int: ...
    @property
    def opened_ms(self) -> int: ...
    @property
    def why(self) -> str: ...

    def epoch_of(self, shard: int) -> bytes | None: ...

    async def start(self, timeout_s: float | None = None) -> None: ...
    async def stop(self) -> None: ...

    def script(
        self,
        name: str,
        names: Iterable[str],
        args: tuple[bytes, ...],
        decode: Callable[[Any], Any],
        *,
        repeatable: bool = True,
    ) -> RedisCall: ...
    def script_placed(
        self,
        name: str,
        names: Iterable[str],
        args: tuple[bytes, ...],
        decode: Callable[[Any], Any],
        place: tuple[str, str],
    ) -> Pending[Any]: ...
    def command(self, *words: str | bytes | int, decode: Callable[[Any], Any] | None = None) -> RedisCall: ...
    def read_projected(self, names: Sequence[str]) -> Pending[Any]: ...
    def ask_too(self, commands: Sequence[tuple[str, ...]], heard: Callable[[list[Any]], None]) -> None: ...
    def ask_each(self, command: tuple[str, ...], heard: Callable[[list[Any]], None]) -> None: ...
    def write_format(self, stored: int) -> None: ...
    def refuse(self, why: str) -> None: ...
    def look(self) -> None: ...
    def oldest_us(self) -> int: ...
