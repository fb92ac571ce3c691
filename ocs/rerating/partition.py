"""Rates one part of the history again: `python -m ocs.rerating.partition` reads its job from standard input and writes
progress and results."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, BinaryIO, Final

from balances.ledger import history
from ocs.rerating.aggregate import Aggregate
from ocs.rerating.funds import RecordFunds
from ocs.rerating.job import Done, Failed, Job, Progress, Said, decode_job, encode
from ocs.rerating.tally import RatingTally
from ocs.rerating.tariffs_of_job import NoSuchTariff, exchanges_of, places_of, versions
from tariffs.tariff import Tariff
from tariffs.whatif.line import ReplayedGrant
from tariffs.whatif.prices import Ladders, Prices, Version
from tariffs.whatif.replay import Charged, LookUps, Replay, ReplayedPiece, Result

ACCOUNT, EPOCH, N, SHARD, TAG, LADDER, COST = (
    ReplayedPiece._fields.index(name) for name in ("account", "epoch", "n", "shard", "tag", "ladder", "cost")
)
GC_THRESHOLD: Final = 200_000
"""Rows are no cycles: looking for some after every few hundred objects is a waste."""

INTERRUPTED: Final = 130


async def work(job: Job, said: Callable[[int], None]) -> RatingTally:
    """Do the whole job in this process. `said` is called with the number of records read."""
    async with history.connect(job.dsn) as pg:
        stored: dict[Version, Tariff] = {}
        prices = Prices(await places_of(pg, job), stored, await exchanges_of(pg), job.default_groups)
        part = _Part(job, pg, prices, stored, correcting=await history.any_corrected(pg))
        async for pieces in history.stream(pg, job.window):
            await part.rate(pieces)
            said(len(pieces))
        return part.tally()


class _Part:
    def __init__(self, job: Job, pg: Any, prices: Prices, stored: dict[Version, Tariff], *, correcting: bool) -> None:
        self._job, self._pg, self._prices, self._stored = job, pg, prices, stored
        self._ladders = Ladders()
        self._replay = Replay(prices, self._ladders)
        self._aggregate = Aggregate(job)
        self._tags: set[str] = set()
        self._correcting = correcting
        """Something was corrected before."""
        self._account = ""
        self._funds: RecordFunds | None = None
        """Of the account under way, once it would have paid more."""

    def tally(self) -> RatingTally:
        tally = self._aggregate.tally()
        tally.estimated = self._replay.estimated
        return tally

    async def rate(self, pieces: Sequence[Charged]) -> None:
        await self._store(pieces)
        missing = self._ladders.missing(row[LADDER] for row, _ in pieces)
        if missing:
            for key, packed in await history.ladders(self._pg, missing):
                self._ladders.add(key, packed)
        wanted = self._replay.wants(pieces)
        found = await self._look_up(wanted) if any(wanted) else ({}, {}, {})
        results = self._replay.run(pieces, *found)
        corrected = {}
        if self._correcting:
            corrected = await history.corrected(self._pg, {row[ACCOUNT] for row, *_ in results})
        self._aggregate.add(len(pieces), results, await self._uncovered(results), corrected)

    async def _store(self, pieces: Iterable[Charged]) -> None:
        """The compiled tariff versions that the tags of these records need."""
        tags = {row[TAG] for row, _ in pieces} - self._tags
        if tags:
            self._tags |= tags
            needed = {one for tag in tags for one in self._prices.needs(tag)} - self._stored.keys()
            self._stored.update(await versions(self._pg, sorted(needed)))

    async def _look_up(self, wanted: LookUps) -> tuple[dict[Any, Any], dict[Any, Any], dict[Any, Any]]:
        pg = self._pg
        grants, originals, instants = {}, {}, {}
        if wanted.grants:
            lines = [(key[0], row[EPOCH], row[N], *key[1:]) for key, row in wanted.grants.items()]
            keys = list(wanted.grants)
            grants = {keys[place]: ReplayedGrant(*one) for place, one in (await history.grants(pg, lines)).items()}
        if wanted.originals:
            found = await history.originals(pg, _calls(wanted.originals))
            of = wanted.originals
            originals = {_call(of[place]): (of[place][ACCOUNT], *one) for place, one in found.items()}
        if wanted.instants:
            made = await history.instants(pg, _calls(wanted.instants))
            instants = {_call(wanted.instants[place]): at_ms for place, at_ms in made.items()}
        return grants, originals, instants

    async def _uncovered(self, results: Sequence[Result]) -> dict[int, int]:
        """Micro-units that accounts could not have paid, by the index of the piece."""
        begins = self._dearer(results)
        if not begins and self._funds is None:
            if results:
                self._account = results[-1][0][ACCOUNT]
            return {}
        at = {row[ACCOUNT]: (row[EPOCH], row[N]) for row in (results[place][0] for place in begins)}
        limits = await history.limits(self._pg, at) if at else {}
        balances = await history.balances(self._pg, at) if at else {}
        uncovered: dict[int, int] = {}
        for place, (row, more, new, _, _) in enumerate(results):
            if row[ACCOUNT] != self._account:
                self._account, self._funds = row[ACCOUNT], None
            if place in begins:
                self._funds = RecordFunds(limits.get(row[ACCOUNT], 0), balances[row[ACCOUNT]])
            if self._funds is not None:
                short = self._funds.uncovered(row, more, new)
                if short:
                    uncovered[place] = short
        return uncovered

    def _dearer(self, results: Sequence[Result]) -> set[int]:
        """Indexes where an account begins that would have paid more at some point and whose funds are not tracked
        yet."""
        begins: set[int] = set()
        account, watched, first, apart = self._account, self._funds is not None, 0, 0
        for place, (row, _, new, _, _) in enumerate(results):
            if row[ACCOUNT] != account:
                account, watched, first, apart = row[ACCOUNT], False, place, 0
            apart += new - row[COST]
            if apart > 0 and not watched:
                watched = True
                begins.add(first)
        return begins


def _call(row: Sequence[Any]) -> tuple[str, int, int]:
    return row[ACCOUNT], row[EPOCH], row[N]


def _calls(rows: Iterable[Sequence[Any]]) -> list[tuple[int, int, int]]:
    return [(row[SHARD], row[EPOCH], row[N]) for row in rows]


def say(out: BinaryIO, what: Said) -> None:
    packed = encode(what)
    out.write(len(packed).to_bytes(4) + packed)
    out.flush()


def main() -> None:
    out = sys.stdout.buffer
    job = decode_job(sys.stdin.buffer.read())
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    try:
        tally = asyncio.run(work(job, lambda records: say(out, Progress(records))))
        say(out, Done(tally))
    except (history.Unreachable, NoSuchTariff) as why:
        say(out, Failed(str(why)))
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(INTERRUPTED)  # the process that asked has ended


if __name__ == "__main__":
    main()
