"""Who calls a cluster as a worker does, one call at a time: the pass is looked at before every call, a script goes to
the primary that has its shard. What was acknowledged is remembered, to be compared with the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from redis.exceptions import RedisError, ResponseError

from balances import keys
from balances.ledger.reader import send
from balances.packing import fresh_account, pack
from balances.redis.address import StoreAddress
from balances.redis.calls import Lost, NotSent
from balances.redis.clients import slow_client
from balances.redis.cluster_primaries import ClusterPrimaries
from balances.redis.libraries import is_missing, load
from balances.redis.pending import Pending, SlowPath
from balances.redis.primaries import Primary
from balances.redis.scripts import LIBRARY
from balances.redis.store import Store
from balances.structs.account import MAIN
from balances.structs.blob import raw_of
from balances.structs.posting import AccountOpening, Post, Posting
from ocs.clock import now_ms
from tariffs.units import Kind


class Quiet:
    """No hints: what nobody hinted at is found too."""

    def moved(self, key: str) -> None: ...
    def wake(self) -> None: ...


class PassedLink:
    """The part of RedisConnection that Store uses."""

    epoch = None
    news = Quiet()

    def __init__(self, primaries: ClusterPrimaries, slow: Any) -> None:
        self.primaries, self._slow = primaries, slow

    def script(
        self,
        name: str,
        names: Iterable[str],
        args: tuple[bytes, ...],
        decode: Callable[[Any], Any],
        *,
        repeatable: bool = True,
    ) -> Pending[Any]:
        return SlowPath(self._script(name, tuple(names), args, decode))

    def command(self, *words: Any, decode: Callable[[Any], Any] | None = None) -> Pending[Any]:
        return SlowPath(self._command(words, decode))

    async def _command(self, words: Any, decode: Callable[[Any], Any] | None) -> Any:
        reply = await self._slow.execute_command(*words)
        return reply if decode is None else decode(reply)

    async def _script(self, name: str, names: tuple[str, ...], args: Any, decode: Callable[[Any], Any]) -> Any:
        shard = int(names[0][keys.NUMBER_IN_TAG])
        primary = self.primaries.of(shard)
        if primary is None:
            raise NotSent("nobody has it")
        epoch = await self._pass(primary, shard)
        for _ in range(2):
            try:
                words = ("FCALL", LIBRARY.functions[name], len(names), *names, epoch, *args)
                return decode((await send(primary.client, [words]))[0])
            except ResponseError as why:
                if not is_missing(why):
                    raise NotSent(str(why)) from None
                await load(primary.client)
            except (OSError, RedisError) as why:
                raise Lost(str(why)) from None
        raise NotSent("no functions")

    async def _pass(self, primary: Primary, shard: int) -> bytes:
        try:
            info, published = await send(primary.client, [("INFO", "replication"), ("GET", keys.published(shard))])
        except (OSError, RedisError) as why:
            raise NotSent(str(why)) from None
        facts = dict(line.split(b":", 1) for line in info.split(b"\r\n") if b":" in line)
        replid, _, epoch = (published or b"").partition(b" ")
        if facts[b"role"] != b"master" or replid != facts[b"master_replid"]:
            raise NotSent("not open")
        return bytes(epoch)


class ClusterBooks:
    def __init__(self, url: str) -> None:
        self.primaries = ClusterPrimaries(StoreAddress(url))
        self.slow = slow_client(url)
        self.store = Store(PassedLink(self.primaries, self.slow))  # type: ignore[arg-type]
        self.acknowledged: dict[str, list[str]] = {}
        """Keys of postings that were answered, by account."""
        self.sent: dict[str, list[str]] = {}

    async def close(self) -> None:
        await self.primaries.close()
        await self.slow.aclose()

    async def open(self, account: str) -> None:
        opening = AccountOpening(raw_of(pack(fresh_account(account, "EUR"))), [], [], now_ms(), "open")
        async with asyncio.timeout(60):
            while True:
                try:
                    assert (await self.store.open(account, opening).wait()).status in ("ok", "exists")
                    return
                except (NotSent, Lost):
                    await asyncio.sleep(0.05)
                    await self._look()

    async def post(self, account: str, key: str, amount: int = 1) -> str:
        """Posted under a key, or "" where no answer came: it may be asked again."""
        posting = Posting(MAIN, Kind.MONEY, amount, "world", "top-up")
        wanted = Post(account, key, "f", now_ms(), 60_000, "me", "", "", [posting])
        self.sent.setdefault(account, []).append(key)
        try:
            reply = await self.store.post(wanted).wait()
        except (NotSent, Lost):
            await self._look()
            return ""
        if reply.status in ("ok", "again"):
            self.acknowledged.setdefault(account, []).append(key)
        return reply.status

    async def _look(self) -> None:
        try:
            await self.primaries.look()
        except (OSError, RedisError):
            await asyncio.sleep(0.05)
