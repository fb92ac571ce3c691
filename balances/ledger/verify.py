"""`ocs ledger verify`: the proof that nothing was lost (charging.md section 10).

- entries of an account are numbered 1, 2, 3 ... and each says the balance that its amount leads to;
- Redis = PostgreSQL = the sum of all entries, for every bucket;
- what an account knows besides its balances (generation, thresholds and lines of services, use of limits) is what
  PostgreSQL has of the same instant;
- what a bucket or a counter holds is what the account's own sessions hold of it;
- no answer was acknowledged that no store knows (those the processes remembered when the live store came back);
- what accounts are restored from (`account_heads`) is where their entries lead;
- no account is in quarantine, whose entries PostgreSQL does not have (those that are, are named once and not compared);
- sums per currency are conserved, no event was charged twice under one key;
- a month that was closed has the entries, and the sums, that it had then; of one that was dropped the closings are
  those that were proven, and they stand in the place of its entries in all of the above;
- `transit` is what is on its way between accounts, and nothing is on its way for long.

It runs beside traffic: an account is read at one instant, entries are compared up to the number it had then, and one
that PostgreSQL does not have yet is read again.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

import msgspec

from balances import keys
from balances.ledger import heads
from balances.ledger.closing import CHANGED, DIGEST, UNCHAINED
from balances.ledger.quarantine import held
from balances.ledger.reader import Client
from balances.ledger.record import fit
from balances.ledger.restore import known_accounts
from balances.ledger.writer import RECOVERED, Pool
from balances.packing import stored_account
from balances.structs.account import Account
from balances.structs.blob import NO_BLOB, blob_of
from balances.structs.session import Session
from tariffs.ladder import LIMIT_MARK, Counted, Ladder, tier_of
from tariffs.units import Kind

AT_ONCE: Final = 500
FINDINGS_MAX: Final = 1_000
ON_ITS_WAY_S: Final = 600
"""A transfer between accounts is done within a second; one that takes so long is a finding."""

_ACCOUNT: Final = msgspec.msgpack.Decoder(Account)
_SESSION: Final = msgspec.msgpack.Decoder(Session)
_AFTERS: Final = msgspec.json.Decoder(dict[int, int])
_LADDER: Final = msgspec.msgpack.Decoder(Ladder)


class LedgerFinding(NamedTuple):
    what: str
    account: str
    detail: str


class VerifyReport(msgspec.Struct):
    accounts: int = 0
    """Compared with Redis."""
    absent: int = 0
    """Known to PostgreSQL alone: they come back when they are needed."""
    entries: int = 0
    dropped: int = 0
    """Entries of months that were dropped: their closings stand for them."""
    recovered: int = 0
    """Entries that stand for what a backup lost."""
    orphaned: int = 0
    """Records that never reached PostgreSQL and were taken back."""
    quarantined: set[str] = set()
    """Accounts whose records wait for a person."""
    sums: dict[str, dict[str, int]] = {}
    """Per currency (or unit), what came from (negative) and went to each counter account."""
    findings: list[LedgerFinding] = []

    @property
    def sound(self) -> bool:
        return not self.findings

    def lines(self) -> list[str]:
        """For people."""
        text = [
            f"{self.accounts} accounts in Redis compared with {self.entries} entries in PostgreSQL; "
            f"{self.absent} accounts in PostgreSQL alone"
        ]
        if self.dropped:
            text.append(f"{self.dropped} entries of dropped months stand in their closings")
        for currency, books in sorted(self.sums.items()):
            text.append(f"{currency}: " + ", ".join(f"{book} {amount}" for book, amount in sorted(books.items())))
        if self.recovered:
            text.append(f"{self.recovered} entries stand for what a restored backup had lost")
        if self.orphaned:
            text.append(f"{self.orphaned} records were taken back at openings (table orphaned)")
        text += [f"WRONG {found.what}: {found.account}: {found.detail}" for found in self.findings]
        text.append("sound" if self.sound else f"{len(self.findings)} findings")
        return text

    def found(self, what: str, account: str, detail: str) -> None:
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(LedgerFinding(what, account, detail))


async def verify(redis: Client, pool: Pool, *, patience_s: int = 10) -> VerifyReport:
    """Verify everything; `patience_s` is how long an entry may be on its way to PostgreSQL."""
    report = VerifyReport(findings=[], sums={})
    await _whole(pool, report)
    async for accounts in known_accounts(pool, AT_ONCE):
        await _entries(pool, accounts, report)
        await _heads(pool, accounts, report)
        there = await redis.exists(*(keys.account(account) for account in accounts))
        report.absent += len(accounts) - int(there)
    async for accounts in _in_redis(redis):
        await _compare_patiently(redis, pool, accounts, report, patience_s)
    return report


# --- PostgreSQL alone


async def _whole(pool: Pool, report: VerifyReport) -> None:
    for row in await pool.fetch("SELECT shard, stopped FROM shards WHERE stopped <> ''"):
        report.found("stopped", f"shard {row['shard']}", row["stopped"])
    for one in await held(pool):
        report.quarantined.add(one.account)
        report.found("quarantined", one.account, f"{one.records} records from {one.first} on: {one.why}")
    for account, currency, count, cost in await pool.fetch(
        "SELECT account, currency, count(*), sum(cost)::bigint FROM lost_answers WHERE accepted_at IS NULL"
        " GROUP BY account, currency ORDER BY account"
    ):
        report.found("lost", account, f"{count} answers were acknowledged and are in no store: {cost} micro {currency}")
    report.orphaned = await pool.fetchval("SELECT count(*) FROM orphaned")
    for kind, currency, amount in await pool.fetch(
        "SELECT kind, currency, sum(amount)::bigint FROM ledger_sums GROUP BY kind, currency HAVING sum(amount) <> 0"
    ):
        report.found("sum", f"{currency} {Kind(kind).name}", f"all legs together make {amount}, not 0")
    for kind, currency, book, amount, on_its_way in await pool.fetch(
        "SELECT kind, currency, book, sum(amount)::bigint, CASE WHEN book = 'transit' THEN (SELECT sum("
        " CASE WHEN t.moved IS NULL THEN CASE WHEN kind = 0 THEN t.amount END ELSE (SELECT sum((b->>2)::bigint)"
        " FROM jsonb_array_elements(t.moved) b WHERE (b->>1)::int = l.kind) END)::bigint"
        " FROM transfers t WHERE t.state IN (0, 1) AND t.currency = l.currency) END"
        " FROM ledger_sums l WHERE leg = 'counter' GROUP BY 1, 2, 3"
    ):
        name = currency if kind == Kind.MONEY else Kind(kind).name.lower()
        books = report.sums.setdefault(name, {})
        books[book] = books.get(book, 0) + amount
        if book == "transit" and amount != (on_its_way or 0):
            detail = f"{amount} left one account and reached no other; {on_its_way or 0} is on its way"
            report.found("transit", currency, detail)
    for transfer, account, late_s in await pool.fetch(
        "SELECT id, source, (extract(epoch FROM now()) - sent_ms / 1000)::bigint FROM transfers WHERE state IN (0, 1)"
        " AND sent_ms < (extract(epoch FROM now())::bigint - $1::bigint) * 1000 ORDER BY sent_ms LIMIT 100",
        ON_ITS_WAY_S,
    ):
        report.found("transit", account, f"transfer {transfer} is on its way for {late_s} s")
    for account, key in await pool.fetch(
        "SELECT account, key FROM once WHERE doubled ORDER BY account, key LIMIT $1", FINDINGS_MAX
    ):
        report.found("double", account, f"{key} was charged more than once")
    for (account,) in await pool.fetch(
        "SELECT DISTINCT account FROM (SELECT account FROM kept_entries UNION ALL SELECT account FROM ledger_brought) e"
        " WHERE NOT EXISTS (SELECT FROM account_heads h WHERE h.account = e.account) LIMIT $1",
        FINDINGS_MAX,
    ):
        report.found("head", account, "it has entries and no head: it cannot be restored")
    await _dropped(pool, report)


async def _dropped(pool: Pool, report: VerifyReport) -> None:
    """Closings of dropped months are all there is of them."""
    for until_ms, month, entries, digest in await pool.fetch(
        "SELECT until_ms, p.month, p.entries, d.digest FROM ledger_drops d LEFT JOIN ledger_periods p USING (until_ms)"
        " WHERE d.what = 'entries' ORDER BY until_ms"
    ):
        report.dropped += entries or 0
        if await pool.fetchval(DIGEST, until_ms) != digest:
            report.found("closed", month or str(until_ms), "its closings are not those it was dropped with")
        (count,) = await pool.fetchrow(
            "SELECT COALESCE(sum(entries), 0)::bigint FROM ledger_closings WHERE until_ms = $1", until_ms
        )
        if count != entries:
            report.found("closed", month or str(until_ms), f"it had {entries} entries, its closings say {count}")


async def _entries(pool: Pool, accounts: list[str], report: VerifyReport) -> None:
    rows = await pool.fetch(
        "SELECT account, seq, bucket, amount, after, why, before, last_seq FROM ("
        " SELECT account, seq, bucket, amount, after, why,"
        " lag(after, 1, 0::bigint) OVER (PARTITION BY account, bucket ORDER BY seq) AS before,"
        " lag(seq, 1, 0::bigint) OVER (PARTITION BY account ORDER BY seq) AS last_seq, brought FROM ("
        " SELECT account, seq, bucket, amount, after, why, false AS brought FROM kept_entries WHERE account = ANY($1)"
        " UNION ALL SELECT account, seq, bucket, 0, after, '', true FROM ledger_brought"
        " WHERE account = ANY($1)) parts) e"
        " WHERE NOT brought AND ((seq <> last_seq + 1 AND why <> $2) OR after <> before + amount)",
        accounts,
        RECOVERED,
    )
    for row in rows:
        if row["seq"] != row["last_seq"] + 1 and row["why"] != RECOVERED:
            report.found("seq", row["account"], f"entry {row['last_seq']} is followed by {row['seq']}")
        if row["after"] != row["before"] + row["amount"]:
            report.found(
                "balance",
                row["account"],
                f"entry {row['seq']}, bucket {row['bucket']}: {row['before']} + {row['amount']} is not {row['after']}",
            )
    count, recovered, currencies = await pool.fetchrow(
        "SELECT count(why), count(*) FILTER (WHERE why = $2), array_agg(DISTINCT account || ' ' || currency) FROM ("
        " SELECT account, currency, why FROM kept_entries WHERE account = ANY($1)"
        " UNION ALL SELECT account, currency, NULL FROM ledger_brought WHERE account = ANY($1)) parts",
        accounts,
        RECOVERED,
    )
    for account, bucket, month, entries, amount, entries_now, amount_now in await pool.fetch(CHANGED, accounts):
        detail = f"{month} was closed with {entries} entries that make {amount}; now {entries_now} make {amount_now}"
        report.found("closed", account, f"bucket {bucket}: {detail}")
    for account, bucket, month, before, amount, after in await pool.fetch(UNCHAINED, accounts):
        detail = f"the closing of {month} says {before} + {amount} = {after}, or goes back"
        report.found("closed", account, f"bucket {bucket}: {detail}")
    report.entries += count
    report.recovered += recovered
    for account, many in Tally(one.rpartition(" ")[0] for one in currencies or ()).items():
        if many > 1:
            report.found("currency", account, f"its entries are in {many} currencies")


_HEADS: Final = """
SELECT h.account, h.seq, h.afters::text, h.state, COALESCE(l.seq, 0), COALESCE(l.afters, '{}')::text
  FROM account_heads h
 CROSS JOIN LATERAL (SELECT max(seq) AS seq, jsonb_object_agg(bucket, after) FILTER (WHERE after <> 0) AS afters
                       FROM (SELECT DISTINCT ON (bucket) bucket, seq, after FROM (
                                 SELECT bucket, seq, after FROM kept_entries WHERE account = h.account
                                 UNION ALL SELECT bucket, seq, after FROM ledger_brought WHERE account = h.account) b
                              ORDER BY bucket, seq DESC) e) l
 WHERE h.account = ANY($1)
"""


async def _heads(pool: Pool, accounts: list[str], report: VerifyReport) -> None:
    """What an account is restored from is where its entries lead. One statement: it sees one instant."""
    for account, seq, afters, packed, last, balances in await pool.fetch(_HEADS, accounts):
        if (seq, _AFTERS.decode(afters)) != (last, _AFTERS.decode(balances)):
            report.found("head", account, f"its head says entry {seq}, {afters}; its last is {last}, {balances}")
        if packed is None:
            continue
        state = _ACCOUNT.decode(packed)
        amounts = {bucket.id: bucket.amount for bucket in state.buckets if bucket.amount}
        if (fit(state.id), state.seq, amounts) != (account, seq, _AFTERS.decode(afters)):
            report.found("head", account, f"its state is that of entry {state.seq} of {state.id}: {amounts}")


# --- Redis against PostgreSQL


class SeenAccount(NamedTuple):
    """An account with its sessions, as of one instant of its own."""

    account: Account
    sessions: list[Session]


async def _in_redis(redis: Client) -> AsyncIterator[list[str]]:
    some: list[str] = []
    async for key in redis.scan_iter(match="{s*}:acct:*", count=1_000):
        some.append(key.decode().split(":acct:", 1)[1])
        if len(some) == AT_ONCE:
            yield some
            some = []
    if some:
        yield some


async def _compare_patiently(
    redis: Client, pool: Pool, accounts: list[str], report: VerifyReport, patience_s: int
) -> None:
    report.accounts += len(accounts)
    left, waited_s = await read_accounts(redis, accounts), 0
    for one in left:
        check_holds(one, report)
    left = [one for one in left if fit(one.account.id) not in report.quarantined]
    while left:  # the same look at Redis, until PostgreSQL has come as far
        behind = await _compare(pool, left, report)
        if behind and waited_s >= patience_s:
            for late in behind:
                report.found(late.what, late.seen.account.id, late.detail)
            return
        left = [late.seen for late in behind]
        if left:
            await asyncio.sleep(1)
            waited_s += 1


class _Late(NamedTuple):
    """What PostgreSQL has not, or may have yet."""

    seen: SeenAccount
    what: str
    detail: str


def _besides(account: Account) -> dict[str, object]:
    """What it knows besides its balances."""
    limits = {one.key: one.used for one in account.counters if one.key.startswith(LIMIT_MARK)}
    return {
        "generation": account.generation,
        "thresholds": account.thresholds,
        "lines of services": account.services,
        "use of limits": limits,
    }


async def _besides_late(pool: Pool, seen: dict[str, SeenAccount]) -> list[_Late]:
    """Accounts that know other things than PostgreSQL has of them. Of one that moved since, nothing is of the same
    instant."""
    late = []
    for account, packed in (await heads.states(pool, seen)).items():
        there, here = _ACCOUNT.decode(packed), seen[account].account
        if (there.seq, there.clock_ms) != (here.seq, here.clock_ms):
            continue
        known = _besides(there)
        others = [
            f"{name} {value}, not {known[name]}" for name, value in _besides(here).items() if value != known[name]
        ]
        if others:
            detail = f"Redis has {'; '.join(others)}, which PostgreSQL has"
            late.append(_Late(seen[account], "state", detail))
    return late


async def _compare(pool: Pool, accounts: list[SeenAccount], report: VerifyReport) -> list[_Late]:
    """Those PostgreSQL does not have all of yet."""
    seen = {fit(one.account.id): one for one in accounts}
    sums: dict[str, dict[int, int]] = {account: {} for account in seen}
    last = dict.fromkeys(seen, 0)
    for account, bucket, amount, seq in await pool.fetch(
        "SELECT e.account, e.bucket, sum(e.amount)::bigint, max(e.seq) FROM unnest($1::text[], $2::bigint[])"
        " AS at(account, seq) CROSS JOIN LATERAL (SELECT account, bucket, amount, seq FROM kept_entries k"
        " WHERE k.account = at.account AND k.seq <= at.seq UNION ALL SELECT account, bucket, after, seq"
        " FROM ledger_brought b WHERE b.account = at.account) e GROUP BY 1, 2",
        list(seen),
        [one.account.seq for one in seen.values()],
    ):
        sums[account][bucket] = amount
        last[account] = max(last[account], seq)
    behind, whole = [], dict[str, SeenAccount]()
    for account, one in seen.items():
        if last[account] < one.account.seq:
            at = f"Redis is at entry {one.account.seq}, PostgreSQL at {last[account]}"
            behind.append(_Late(one, "behind", at))
            continue
        whole[account] = one
        amounts = {bucket.id: bucket.amount for bucket in one.account.buckets}
        for bucket in sorted(amounts.keys() | sums[account].keys()):
            here, there = amounts.get(bucket, 0), sums[account].get(bucket, 0)
            if here != there:
                detail = f"bucket {bucket} has {here} in Redis, its entries make {there}"
                report.found("amount", one.account.id, detail)
    return behind + await _besides_late(pool, whole)


async def read_accounts(redis: Client, accounts: list[str]) -> list[SeenAccount]:
    """Each account with its sessions, as of one instant of its own."""
    pipe = redis.pipeline(transaction=False)
    for account in accounts:
        pipe.hgetall(keys.account(account))
    return [
        SeenAccount(_ACCOUNT.decode(stored.account), [_SESSION.decode(one) for one in stored.sessions.values()])
        for stored in map(stored_account, await pipe.execute())
        if stored.account is not None
    ]


def check_holds(seen: SeenAccount, report: VerifyReport) -> None:
    """`held` recomputed from the account's own sessions. Money of lines that share a tier is held by its counter."""
    account = seen.account
    buckets: Tally[int] = Tally()
    counters: Tally[str] = Tally()
    sharers: Tally[str] = Tally()
    kinds = {bucket.id: bucket.kind for bucket in account.buckets}
    for line in (line for session in seen.sessions for line in session.lines):
        ladder = _LADDER.decode(blob_of(line.ladder)) if line.due_ms and line.ladder != NO_BLOB else None
        tier = tier_of(ladder) if ladder else ""
        money = 0
        for take in line.hold:
            is_money = kinds.get(take.bucket) == Kind.MONEY
            money += take.amount if is_money else 0
            buckets[take.bucket] += 0 if is_money and tier else take.amount
        sharers[tier] += 1 if tier else 0
        for count in ladder.counts if ladder else ():
            counters[count.key] += line.granted if count.what == Counted.UNITS else money
    for counter in account.counters:
        for take in counter.pool:
            buckets[take.bucket] += take.amount
        if counter.sharers != sharers[counter.key]:
            detail = f"counter {counter.key} says {counter.sharers} lines share it, its sessions say otherwise"
            report.found("held", account.id, detail)
    for bucket in account.buckets:
        if bucket.held != buckets.pop(bucket.id, 0):
            report.found("held", account.id, f"bucket {bucket.id} says {bucket.held}, its sessions hold otherwise")
    for counter in account.counters:
        if counter.held != counters.pop(counter.key, 0):
            report.found("held", account.id, f"counter {counter.key} says {counter.held}, its sessions say otherwise")
    for name, amount in [*buckets.items(), *counters.items()]:
        if amount:
            report.found("held", account.id, f"sessions hold {amount} of {name}, which the account does not have")
