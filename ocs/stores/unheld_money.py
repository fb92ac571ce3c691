"""Money of use that nothing was held for when it was reported, by hour and peer: what came in of sessions that failed
open (docs/monitoring.md, "Money at stake"). Keepers add to it, the back office reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

HOURS: Final = 24
"""That are shown."""

_ADD: Final = """
INSERT INTO unheld_money AS u (hour, peer, mark, currency, micro)
SELECT date_trunc('hour', now()), * FROM unnest($1::text[], $2::text[], $3::text[], $4::numeric[])
ON CONFLICT (hour, peer, mark, currency) DO UPDATE SET micro = u.micro + EXCLUDED.micro
"""
_LATELY: Final = f"""
SELECT peer, currency, sum(micro)::bigint AS micro FROM unheld_money
 WHERE hour > now() - interval '{HOURS} hours' GROUP BY peer, currency ORDER BY peer, currency
"""


class UnheldMoney(NamedTuple):
    peer: str
    currency: str
    micro: int


async def lately(pool: Any) -> list[UnheldMoney]:
    """Of the last HOURS."""
    return [UnheldMoney(row["peer"], row["currency"], row["micro"]) for row in await pool.fetch(_LATELY)]


class UnheldBook:
    """Adds what a keeper has counted since it did so last. What is added and not heard of is not added again: a sum for
    people is rather too small once than doubled at each hiccup."""

    def __init__(self, counts: Mapping[tuple[str, ...], int]) -> None:
        self._counts = counts
        """Micro-units by peer, mark and currency, growing."""
        self._added: dict[tuple[str, ...], int] = {}

    async def add(self, pool: Any) -> None:
        new = {of: micro - self._added.get(of, 0) for of, micro in self._counts.items()}
        new = {of: micro for of, micro in new.items() if micro}
        if not new:
            return
        self._added.update((of, self._added.get(of, 0) + micro) for of, micro in new.items())
        columns = [list(column) for column in zip(*new, strict=True)]
        await pool.execute(_ADD, *columns, list(new.values()))
        await pool.execute("DELETE FROM unheld_money WHERE hour < now() - interval '7 days'")
