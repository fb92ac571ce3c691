"""When buckets end: noted with the records that say so, so that somebody is told before (ocs/events/expiring.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from balances.ledger.record import RecordedCall, fit

KNOWN_MAX: Final = 200_000

BucketEnds = dict[tuple[str, int], int]
"""Unix milliseconds by account and bucket."""


async def note(pg: Any, copied: Sequence[tuple[int, RecordedCall]], known: Mapping[tuple[str, int], int]) -> BucketEnds:
    """Write the ends that are not among those known to be written; returns them. Another end of a bucket that somebody
    was told about is told again."""
    new: BucketEnds = {}
    for _, call in copied:
        account = call.record.account
        for bucket, until_ms in call.ends:
            if known.get((account, bucket)) != until_ms and until_ms > call.record.at_ms:
                new[account, bucket] = until_ms
    if new:
        rows = sorted((fit(account), bucket, until_ms) for (account, bucket), until_ms in new.items())
        await pg.execute(
            "INSERT INTO bucket_ends AS b (account, bucket, until_ms)"
            " SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])"
            " ON CONFLICT (account, bucket) DO UPDATE SET until_ms = EXCLUDED.until_ms, told = false"
            " WHERE b.until_ms <> EXCLUDED.until_ms",
            [row[0] for row in rows],
            [row[1] for row in rows],
            [row[2] for row in rows],
        )
    return new
