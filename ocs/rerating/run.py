"""A job divided among several processes: each rates the accounts of its part, and the results are added up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from balances.ledger import history
from ocs.rerating.job import Done, Failed, Job, Progress, decode_said, encode
from ocs.rerating.partition import work
from ocs.rerating.tally import RatingTally, merged
from ocs.rerating.tariffs_of_job import places_of, with_files

CORES: Final = len(os.sched_getaffinity(0))


class JobError(Exception):
    """It could not be done; the text is meant for the operator."""


class PreparedJob(NamedTuple):
    """A job that was checked and can run."""

    job: Job
    tariff: str
    """What stands in the place of what priced."""
    records: int
    """About so many there are."""
    set_aside: int = 0
    """Of so many something was not charged: that is settled in the list of suspense."""


async def prepare(job: Job) -> PreparedJob:
    """Check a job before the work begins. Raises history.Unreachable, NotKept or NoSuchTariff."""
    async with history.connect(job.dsn) as pg:
        await history.check_kept(pg, job.window)
        if job.written is not None:
            job = msgspec.structs.replace(job, written=await with_files(pg, job.written))
        places = await places_of(pg, job)
        name = (
            f"{job.stored[0]}@{job.stored[1]}" if job.stored else next(iter(places)) if job.written else "as published"
        )
        return PreparedJob(job, name, await history.expected(pg, job.window), await history.set_aside(pg, job.window))


async def rate_again(job: Job, said: Callable[[int], None], processes: int = CORES) -> RatingTally:
    """Run the job; `said` is called with records as they are read. Raises history.Unreachable, NoSuchTariff,
    JobError."""
    if job.window.account:
        processes = 1
    if processes == 1:
        return merged([await work(job, said)], job.top)
    windows = [msgspec.structs.replace(job.window, part=part, parts=processes) for part in range(processes)]
    jobs = [msgspec.structs.replace(job, window=window) for window in windows]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_child(one, said)) for one in jobs]
    except* JobError as several:
        raise several.exceptions[0] from None
    return merged([task.result() for task in tasks], job.top)


async def _child(job: Job, said: Callable[[int], None]) -> RatingTally:
    """Start a fresh interpreter. Its job comes through a pipe, because the DSN may hold a password."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ocs.rerating.partition", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(encode(job))
        child.stdin.close()
        while True:
            size = int.from_bytes(await child.stdout.readexactly(4))
            match decode_said(await child.stdout.readexactly(size)):
                case Progress(records=records):
                    said(records)
                case Done(tally=tally):
                    return tally
                case Failed(why=why):
                    raise JobError(why)
    except asyncio.IncompleteReadError:
        raise JobError(f"a process ended with {await child.wait()} before it was done") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
