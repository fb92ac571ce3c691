"""What the use of a session had counted that a refund of it turns back: limits of spending, and counters that prices
depend on (charging.md section 9).

Money is turned back in proportion to what is given back of what is left; units with the last part, where nothing but
money paid them. What earlier refunds turned back is never turned back again, and what was corrected by rating again is
not turned back at all. A limit counted what was charged, a counter that prices depend on what the use came to before
its session was rounded, without prices of buckets (section 22).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from balances.packing import unpack_ladder
from balances.structs.posting import CounterReturn
from tariffs.ladder import Count, Counted
from tariffs.units import share


class Turning(NamedTuple):
    """A refund that is being granted."""

    account: str
    session: str
    incarnation: int
    seq: int | None
    """The entry that is given back; None: of all the session cost."""
    amount: int
    left: int
    """What there was to be given back before it."""
    windows: Mapping[str, int]
    """Of counters that begin with their first use: when the window ends that the account has now."""


# By the ladder that priced it: when it was used, what it cost, what of that no correction changed, what it came to
# before its session was rounded, and the units, where nothing but money paid them. Use that was paid ahead, or that a
# minimum covers, costs nothing more and is part of it (charging.md section 4), and so is what is rounded away. Of one
# entry what that one paid, and the units where it alone did.
_COUNTED: Final = """
    SELECT l.packed, u.limits::text AS limits, array_agg(u.at_ms ORDER BY u.at_ms) AS at_ms,
        array_agg(u.cost ORDER BY u.at_ms) AS cost,
        array_agg(COALESCE(u.exact, u.cost - u.priced) ORDER BY u.at_ms) AS exact,
        array_agg(LEAST(GREATEST(paid.named - paid.corrected, 0), paid.named)::bigint ORDER BY u.at_ms) AS paid,
        array_agg(CASE WHEN paid.alone IS NOT FALSE THEN u.used ELSE 0 END ORDER BY u.at_ms) AS used
    FROM usage_records u JOIN ladders l ON l.hash = u.ladder CROSS JOIN LATERAL (
        SELECT CASE WHEN $4::bigint IS NULL THEN u.cost
                ELSE COALESCE(-sum(e.amount) FILTER (WHERE e.seq = $4), 0) END AS named,
            COALESCE(sum(c.amount) FILTER (WHERE $4::bigint IS NULL OR e.seq = $4), 0) AS corrected,
            bool_and(e.kind = 0 AND ($4::bigint IS NULL OR e.seq = $4)) AS alone
        FROM ledger_entries e CROSS JOIN LATERAL (
            SELECT COALESCE(sum(amount), 0) AS amount FROM ledger_entries
            WHERE original_account = e.account AND original_seq = e.seq AND why = 'rerate' AND e.kind = 0) c
        WHERE e.account = u.account AND e.epoch = u.epoch AND e.n = u.n AND e.usage_line = u.line) paid
    WHERE u.account = $1 AND u.session = $2 AND u.incarnation = $3 AND u.phase <> 4
        AND ($4::bigint IS NULL OR paid.named > 0)
    GROUP BY l.hash, l.packed, u.limits HAVING sum(GREATEST(u.cost, u.exact)) > 0 ORDER BY l.hash, u.limits
"""
_TURNED: Final = """
    SELECT turned FROM refunds WHERE account = $1 AND session = $2 AND incarnation = $3 AND turned IS NOT NULL
        AND ($4::bigint IS NULL OR seq = $4)
"""
_limits: Final = msgspec.json.Decoder(tuple[Count, ...]).decode
_returns: Final = msgspec.json.Decoder(list[CounterReturn]).decode


async def turned_by(pg: Any, turning: Turning) -> list[CounterReturn]:
    """In the transaction that grants it, under the account's lock."""
    left = await _left(pg, turning, turning.seq)
    if turning.seq is not None:  # refunds of the session have turned back some of it too
        of_session = await _left(pg, turning, None)
        left = {key: (count, min(amount, of_session[key][1]), ms) for key, (count, amount, ms) in left.items()}
    everything = turning.amount == turning.left
    returns = []
    for count, amount, used_ms in left.values():
        if count.what == Counted.MONEY:
            back = share(amount, turning.amount, turning.left)
        else:
            back = amount if everything else 0
        if back > 0:
            returns.append(CounterReturn(count.key, back, count.until_ms, count.window_ms, used_ms, count.limit))
    return returns


async def _left(pg: Any, turning: Turning, seq: int | None) -> dict[tuple[str, int], tuple[Count, int, int]]:
    """What was counted and not turned back, with when it was used last; by counter and period. Of a window: in the one
    of now."""
    of = (turning.account, turning.session, turning.incarnation, seq)
    found: dict[tuple[str, int], tuple[Count, int, int]] = {}
    for row in await pg.fetch(_COUNTED, *of):
        for count in (*unpack_ladder(row["packed"]).counts, *_limits(row["limits"] or "[]")):
            amounts = row["used"] if count.what == Counted.UNITS else row["paid"] if count.limit >= 0 else _exact(row)
            _, sum_, last_ms = found.get((count.key, count.until_ms), (count, 0, 0))
            for at_ms, amount in zip(row["at_ms"], amounts, strict=True):
                if _is_now(turning, count, at_ms):
                    sum_, last_ms = sum_ + amount, max(last_ms, at_ms)
            found[count.key, count.until_ms] = count, sum_, last_ms
    returns = [one for row in await pg.fetch(_TURNED, *of) for one in _returns(row["turned"])]
    turned = _sums(one for one in returns if _is_now(turning, one, one.used_ms))
    return {key: (count, max(amount - turned[key], 0), ms) for key, (count, amount, ms) in found.items()}


def _exact(row: Mapping[str, Any]) -> list[int]:
    """What the tariff came to before its session was rounded, of what was paid and not corrected."""
    each = zip(row["exact"], row["paid"], row["cost"], strict=True)
    return [share(exact, paid, cost) if cost else exact for exact, paid, cost in each]


def _is_now(turning: Turning, of: Count | CounterReturn, at_ms: int) -> bool:
    """Whether a window is the one that the account has now. Use of another kind of period says which it is of."""
    until_ms = turning.windows.get(of.key, 0)
    return not of.window_ms or until_ms - of.window_ms <= at_ms < until_ms


def _sums(returns: Iterable[CounterReturn]) -> dict[tuple[str, int], int]:
    sums: dict[tuple[str, int], int] = defaultdict(int)
    for one in returns:
        sums[one.key, one.until_ms] += one.amount
    return sums
