"""What this process has answered lately, against what the stores know after the live one came back.

Only those who gave an answer know that it was given: what was acknowledged, not yet copied to PostgreSQL, and gone with
the live store is in no store at all. So each process that charges keeps its last answers in mind, and when the history
of the live store has changed it looks for the record of each. What has none was lost: it is told, counted, and listed
for a person.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from balances.keys import NUMBERS, shard_of
from balances.ledger.record import fit
from balances.ledger.writer import AWAY
from balances.structs.charge import Outcome
from balances.structs.posting import PostingOutcome
from ocs.telemetry.standing_alarms import NAMES_MAX, AlarmLog
from tariffs.units import Kind

ANSWERS_MAX: Final = 20_000
"""Kept in mind. At the full rate of a worker that is some seconds: far longer than a copy takes."""
AT_ONCE: Final = 1_000


class Answered(msgspec.Struct, frozen=True, gc=False):
    """An answer that left a record behind."""

    epoch: bytes
    """Under which it was recorded, as the pass says it."""
    account: str
    session: str
    key: str
    at_ms: int
    outcome: bytes
    posted: bool
    """A posting; else a charge."""


_OUTCOME: Final = msgspec.msgpack.Decoder(Outcome)
_POSTED: Final = msgspec.msgpack.Decoder(PostingOutcome)

# An opening copies all that the live store has before it publishes, so what is in no table by then is nowhere. A shard
# that is stopped is not copied, a snapshot (`recovered`) stands for records that are gone: both are told elsewhere.
_LOST: Final = """
SELECT a.place, COALESCE(accounts.currency, '') AS currency
  FROM unnest($1::int[], $2::smallint[], $3::bigint[], $4::text[], $5::text[], $6::text[])
       AS a(place, shard, epoch, account, session, key)
  JOIN shards ON shards.shard = a.shard AND shards.stopped = ''
  LEFT JOIN accounts ON accounts.id = a.account
 WHERE NOT EXISTS (SELECT FROM calls c WHERE c.account = a.account AND c.session = a.session AND c.request_key = a.key)
   AND NOT EXISTS (SELECT FROM calls c WHERE c.account = a.account AND c.kind = 'recovered' AND c.epoch > a.epoch)
   AND NOT EXISTS (SELECT FROM quarantined q WHERE q.account = a.account AND q.settled_at IS NULL)
"""


class Witness:
    """`answered` on the way of each answer costs one append; `look` is for a quiet moment, again and again."""

    def __init__(self, log: AlarmLog, lost: Callable[[int], None], answers_max: int = ANSWERS_MAX) -> None:
        """lost: told how many were"""
        self.answers: deque[Answered] = deque(maxlen=answers_max)
        self._log, self._lost = log, lost
        self._looked_at: Mapping[str, bytes] = {}

    async def look(self, pool: Any, epochs: Mapping[str, bytes]) -> int:
        """Compare what was answered before the epoch under which its shard is open, if PostgreSQL knows that one;
        returns how many are lost. Raises what the pool raises when PostgreSQL cannot be asked; then nothing is
        forgotten here. epochs: by the number of the shard (keys.NUMBERS); another object where they are others"""
        if epochs is self._looked_at:
            return 0
        older = [answer for answer in self.answers if int(answer.epoch) < _now(epochs, answer)]
        before: list[Answered] = []
        if older:
            rows = await pool.fetch("SELECT shard, opened_epoch FROM shards")
            opened = {row["shard"]: row["opened_epoch"] for row in rows}
            # What was opened without PostgreSQL is proved by the opening that follows.
            before = [answer for answer in older if opened[shard_of(answer.account)] >= _now(epochs, answer)]
        found: list[tuple[Answered, str]] = []
        for start in range(0, len(before), AT_ONCE):
            found += await _unknown(pool, before[start : start + AT_ONCE])
        if found:
            await self._tell(pool, found)
        seen = set(map(id, before))
        for _ in range(len(self.answers)):
            answer = self.answers.popleft()
            if id(answer) not in seen:
                self.answers.append(answer)
        if len(before) == len(older):
            self._looked_at = epochs
        return len(found)

    async def _tell(self, pool: Any, found: Sequence[tuple[Answered, str]]) -> None:
        async with pool.acquire() as pg:
            await pg.executemany(
                "INSERT INTO lost_answers (account, session, request_key, at_ms, epoch, currency, cost)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
                [
                    (fit(one.account), fit(one.session), fit(one.key), one.at_ms, int(one.epoch), currency, cost(one))
                    for one, currency in found
                ],
            )
        sums = Counter[str]()
        for one, currency in found:
            sums[currency] += cost(one)
        accounts = sorted({one.account for one, _ in found})
        self._lost(len(found))
        self._log.error(
            "answers.lost",
            count=len(found),
            micro=dict(sums),
            accounts=accounts[:NAMES_MAX],
            more=max(len(accounts) - NAMES_MAX, 0),
            what="acknowledged, and in no store: the live store came back older than that (`ocs ledger lost`)",
        )


def _now(epochs: Mapping[str, bytes], answer: Answered) -> int:
    """Under which epoch its shard is open now; 0 while it is not."""
    return int(epochs.get(NUMBERS[shard_of(answer.account)], 0))


async def _unknown(pool: Any, answers: Sequence[Answered]) -> list[tuple[Answered, str]]:
    """Those no table has, with the currency of the account."""
    rows = await pool.fetch(
        _LOST,
        list(range(len(answers))),
        [shard_of(one.account) for one in answers],
        [int(one.epoch) for one in answers],
        [fit(one.account) for one in answers],
        [fit(one.session) for one in answers],
        [fit(one.key) for one in answers],
    )
    return [(answers[row["place"]], row["currency"]) for row in rows]


def cost(answer: Answered) -> int:
    """Micro-units that it took from the account; below zero: gave it."""
    if not answer.posted:
        return _OUTCOME.decode(answer.outcome).cost
    return -sum(entry.amount for entry in _POSTED.decode(answer.outcome).entries if entry.kind == Kind.MONEY)


async def witnessing(
    witness: Witness, pool: Any, epochs: Callable[[], Mapping[str, bytes]], beat: Callable[[], Awaitable[None]]
) -> None:
    """Look at each beat, for ever."""
    while True:
        await beat()
        try:
            await witness.look(pool, epochs())
        except AWAY:
            pass  # PostgreSQL is away: what was answered is still in mind


async def lost_answers(pool: Any, limit: int = 1_000) -> list[Any]:
    """Those that no person has taken note of yet, newest first."""
    rows: list[Any] = await pool.fetch(
        "SELECT account, session, request_key, at_ms, currency, cost, (extract(epoch FROM found_at) * 1000)::bigint"
        " AS found_ms FROM lost_answers WHERE accepted_at IS NULL ORDER BY found_at DESC, at_ms DESC LIMIT $1",
        limit,
    )
    return rows


async def accept_lost(pool: Any, *, actor: str, reason: str) -> int:
    """A person has taken note of all that are listed; returns how many."""
    done = await pool.execute(
        "UPDATE lost_answers SET accepted_at = now(), accepted_by = $1, reason = $2 WHERE accepted_at IS NULL",
        actor,
        reason,
    )
    return int(done.split()[1])
