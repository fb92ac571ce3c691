"""Lua on a real server and the model side by side: every call goes through both, answers and state are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import redis

from balances import keys
from balances.facts import merge
from balances.model.kept import Appended
from balances.model.store import Model
from balances.packing import ACCOUNT_FIELD, stored_account, unpack_answer, unpack_ladder
from balances.redis import scripts
from balances.redis.store import more_of
from balances.structs.account import MAIN, Account, Take
from balances.structs.blob import blob_of, raw_of
from balances.structs.charge import Charge, Outcome, Phase, Reply
from balances.structs.posting import (
    AccountClosing,
    AccountOpening,
    AccountSettings,
    Expire,
    Fee,
    FeeOutcome,
    Post,
    PostingOutcome,
    RestoredKey,
    Transfer,
)
from balances.structs.record import Entry, Record
from balances.structs.session import IdempotencyRecord, Line, Session, SessionState
from tariffs.ladder import tier_of
from tariffs.units import Kind

EPOCH = "7"
_encode = msgspec.msgpack.encode
_builtins = msgspec.to_builtins


def _outcome(packed: bytes) -> Any:
    return msgspec.msgpack.decode(packed) if packed else None


def _session(session: Session) -> Any:
    apart = ("answers", "lines", "facts", "initial", "former", "bygone")
    plain = _builtins({name: value for name, value in msgspec.structs.asdict(session).items() if name not in apart})
    initial = [session.initial] if blob_of(session.initial) else []
    answers = [
        [*msgspec.structs.astuple(answer)[:4], _outcome(blob_of(answer.outcome)), answer.at_ms]
        for answer in map(unpack_answer, [*initial, *session.answers, *session.former])
    ]
    bygone = [
        [one.incarnation, one.token, one.began_ms, [*map(_line, one.lines)], _builtins(one.sums)]
        for one in session.bygone
    ]
    return [plain, answers, [*map(_line, session.lines)], blob_of(session.facts), bygone]


def _line(line: Line) -> Any:
    packed = blob_of(line.ladder)
    fields = msgspec.structs.asdict(line) | {"ladder": _builtins(unpack_ladder(packed)) if packed else None}
    return _builtins(fields)


def _once(once: IdempotencyRecord) -> Any:
    fields = msgspec.structs.asdict(once) | {"outcome": _outcome(blob_of(once.outcome))}
    return _builtins(fields)


def _octets(client: Any, names: Sequence[str]) -> list[Any]:
    """All that is stored under these names, of a stream the last record. A hash has its fields in no order."""
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            if name.endswith(":ledger"):
                pipe.xrevrange(name, count=1)
            elif ":acct:" in name:
                pipe.hgetall(name)
            else:
                pipe.dump(name)
        found: list[Any] = pipe.execute()
    return found


def changed(library: scripts.Library, name: str, old: str, new: str) -> scripts.Library:
    """A library beside it, in which one place of the text is another."""
    assert library.text.count(old) == 1
    version = library.name.removeprefix(scripts.FAMILY)
    functions = {script: f"{function}_{name}" for script, function in library.functions.items()}
    text = library.text.replace(old, new).replace(version, f"{version}_{name}")
    return scripts.Library(f"{library.name}_{name}", text, functions)


def without_steady(library: scripts.Library) -> scripts.Library:
    """The same operations, in which charge.lua decides all by itself."""
    head = "function steady(charge, phase, packed, stored, once, adopted)"
    return changed(library, "general", head, f"{head}\n  do return nil end")


class Twins:
    """Calls scripts and model alike, and the scripts once more on another database without their steady path
    (lua/lib/steady): what these two store, record and answer is the same, octet for octet."""

    def __init__(self, url: str) -> None:
        self.redis: Any = redis.Redis.from_url(url)
        self.model = Model()
        self.general: Any = redis.Redis.from_url(url, db=1)
        self.library, self.general_library = scripts.LIBRARY, without_steady(scripts.LIBRARY)
        for library in (self.library, self.general_library):
            self.redis.function_load(library.text, replace=True)
        self.touched: set[str] = set()
        self.missing_ms = 0
        """From when on use by time has no price, where the last charge said so."""
        self._read_to = "-"

    def close(self) -> None:
        self.redis.close()
        self.general.close()

    def delete(self, *names: str) -> None:
        """Lost by the store, and not by the model."""
        self.redis.delete(*names)
        self.general.delete(*names)

    def _call(self, name: str, names: Sequence[str], *args: bytes, with_epoch: bool = True) -> Reply:
        head = (EPOCH,) if with_epoch else ()
        raw = self.redis.fcall(self.library.functions[name], len(names), *names, *head, *args)
        general = self.general.fcall(self.general_library.functions[name], len(names), *names, *head, *args)
        assert raw == general
        assert _octets(self.redis, names) == _octets(self.general, names)
        return Reply(raw[0].decode(), *raw[1:])

    def _same(self, account: str, lua: Reply, model: Reply, packed: type | None = None) -> Reply:
        assert lua.status == model.status
        if lua.status == "longer":
            assert lua.outcome == model.outcome
        elif packed is not None and model.outcome:
            assert msgspec.msgpack.decode(lua.outcome, type=packed) == msgspec.msgpack.decode(
                model.outcome, type=packed
            )
        assert (lua.marks, lua.urgent) == (model.marks, model.urgent)
        self.touched.add(account)
        self.compare(account)
        return lua

    def charge(self, charge: Charge) -> tuple[str, Outcome | None]:
        of = keys.AccountKeys(charge.account)
        names = [of.account, of.due, of.ledger]
        if charge.phase == Phase.EVENT:
            once = keys.once(charge.account, charge.once_key)
            names += [once, keys.renumbered(once, charge.fingerprint)]
            names += [keys.once(charge.account, charge.refund_of)] if charge.refund_of else []
        reply = self._call("charge", names, _encode(charge), b"inputs", *more_of(charge))
        written = len(self.model.ledger)
        model = self.model.charge(charge, b"inputs")
        for appended in self.model.ledger[written:]:  # who acts on a record is woken by whoever wrote it
            if model.status == "ok":
                assert bool(model.urgent) == bool(appended.record.threshold_events or appended.record.reauthorize)
        if model.status == "facts":  # to be rated again, by what the session told
            assert reply == model
            self._same(charge.account, reply, model)
            known = raw_of(merge(reply.outcome, blob_of(charge.told)))
            return self.charge(msgspec.structs.replace(charge, facts=known))
        if model.status == "other":  # the outcome is the subscriber of the opening
            assert reply.outcome == model.outcome
            self._same(charge.account, reply, model)
            return reply.status, None
        self._same(charge.account, reply, model, Outcome)
        if reply.status == "longer":
            self.missing_ms = int(reply.outcome)
            return reply.status, None
        return reply.status, msgspec.msgpack.decode(reply.outcome, type=Outcome) if reply.outcome else None

    def post(self, post: Post) -> tuple[str, PostingOutcome | None]:
        of = keys.AccountKeys(post.account)
        names = [of.account, keys.once(post.account, post.key), of.due, of.ledger]
        names += [keys.once(post.account, post.refund_of)] if post.refund_of else []
        reply = self._call("post", names, _encode(post))
        self._same(post.account, reply, self.model.post(post), PostingOutcome)
        return reply.status, msgspec.msgpack.decode(reply.outcome, type=PostingOutcome) if reply.outcome else None

    def transfer(self, transfer: Transfer) -> tuple[str, PostingOutcome | None]:
        of = keys.AccountKeys(transfer.account)
        names = [of.account, keys.once(transfer.account, transfer.key), of.due, of.ledger]
        reply = self._call("transfer", names, _encode(transfer))
        self._same(transfer.account, reply, self.model.transfer(transfer), PostingOutcome)
        return reply.status, msgspec.msgpack.decode(reply.outcome, type=PostingOutcome) if reply.outcome else None

    def close_account(self, close: AccountClosing) -> tuple[str, PostingOutcome | None]:
        of = keys.AccountKeys(close.account)
        names = [of.account, keys.once(close.account, close.key), of.due, of.ledger]
        reply = self._call("close", names, _encode(close))
        self._same(close.account, reply, self.model.close(close), PostingOutcome)
        return reply.status, msgspec.msgpack.decode(reply.outcome, type=PostingOutcome) if reply.outcome else None

    def fee(self, fee: Fee) -> tuple[str, FeeOutcome | None]:
        of = keys.AccountKeys(fee.account)
        reply = self._call("fee", [of.account, of.due, of.ledger], _encode(fee))
        self._same(fee.account, reply, self.model.fee(fee), FeeOutcome)
        return reply.status, msgspec.msgpack.decode(reply.outcome, type=FeeOutcome) if reply.outcome else None

    def settings(self, settings: AccountSettings) -> str:
        of = keys.AccountKeys(settings.account)
        reply = self._call("settings", [of.account, of.due, of.ledger], _encode(settings))
        return self._same(settings.account, reply, self.model.settings(settings), Account).status

    def expire(self, expiry: Expire) -> str:
        of = keys.AccountKeys(expiry.account)
        reply = self._call("expire", [of.account, of.due, of.ledger], _encode(expiry))
        return self._same(expiry.account, reply, self.model.expire(expiry)).status

    def open(
        self,
        account: Account,
        now_ms: int = 0,
        sessions: Sequence[RestoredKey] = (),
        entries: Sequence[Entry] = (),
    ) -> str:
        opening = AccountOpening(raw_of(_encode(account)), list(sessions), [], now_ms, "open", "me", list(entries))
        of = keys.AccountKeys(account.id)
        reply = self._call("open", [of.account, of.due, of.ledger], _encode(opening))
        return self._same(account.id, reply, self.model.open(account.id, opening), Account).status

    # --- state --------------------------------------------------------------------------------------------------

    def account(self, account: str) -> Account | None:
        packed = self.redis.hget(keys.account(account), ACCOUNT_FIELD)
        return msgspec.msgpack.decode(packed, type=Account) if packed else None

    def sessions(self, account: str) -> dict[str, Session]:
        stored = stored_account(self.redis.hgetall(keys.account(account))).sessions
        return {key.decode(): msgspec.msgpack.decode(value, type=Session) for key, value in stored.items()}

    def compare(self, account: str) -> None:
        lua = self.account(account)
        assert lua == self.model.accounts.get(account)
        sessions = {key: _session(value) for key, value in self.sessions(account).items()}
        assert sessions == {key: _session(value) for key, value in self.model.sessions.get(account, {}).items()}
        due = dict(self.redis.zrange(keys.due(keys.shard_of(account)), 0, -1, withscores=True))
        assert {member.decode(): int(score) for member, score in due.items()} == self.model.due
        for (owner, key), once in self.model.answers.items():
            packed = self.redis.get(keys.once(owner, key))
            assert packed is not None
            assert _once(msgspec.msgpack.decode(packed, type=IdempotencyRecord)) == _once(once)
        self._compare_records(account)
        if lua is not None:
            check_account(lua, list(self.sessions(account).values()))

    def _compare_records(self, account: str) -> None:
        shard = keys.shard_of(account)
        entries = self.redis.xrange(keys.ledger(shard), min=self._read_to)
        model = self.model.ledger[len(self.model.ledger) - len(entries) :]
        if entries:
            self._read_to = f"({entries[-1][0].decode()}"
        for (_, fields), appended in zip(entries, model, strict=True):
            self._compare_record(fields, appended)
        assert self.redis.xlen(keys.ledger(shard)) == len(self.model.ledger)

    def _compare_record(self, fields: dict[bytes, bytes], appended: Appended) -> None:
        assert msgspec.msgpack.decode(fields[b"r"], type=Record) == appended.record
        if appended.account is not None:
            assert msgspec.msgpack.decode(fields[b"a"], type=Account) == appended.account
        if appended.session is not None:
            assert _session(msgspec.msgpack.decode(fields[b"s"], type=Session)) == _session(appended.session)
        if appended.answer is not None:
            assert _once(msgspec.msgpack.decode(fields[b"o"], type=IdempotencyRecord)) == _once(appended.answer)
        if appended.original is not None:
            assert _once(msgspec.msgpack.decode(fields[b"p"], type=IdempotencyRecord)) == _once(appended.original)


def price_of_units(account: Account, take: Take) -> int:
    """What is held for the price of a bucket, which only limits count (charging.md 22)."""
    bucket = next(one for one in account.buckets if one.id == take.bucket)
    return -(-bucket.price * take.amount // bucket.per)


def check_account(account: Account, sessions: list[Session]) -> None:
    """Invariants of nothing-is-lost: held is the sum of live holds, no bucket but main is overdrawn."""
    held: dict[int, int] = {}
    counted: dict[str, int] = {}
    shared: dict[str, int] = {}
    kinds = {bucket.id: bucket.kind for bucket in account.buckets}
    for session in sessions:
        for line in session.lines:
            assert (line.due_ms > 0) == (line.granted > 0), line
            assert session.state == SessionState.OPEN or line.due_ms == 0, session
            assert line.paid_ahead >= 0
            if not line.due_ms:
                assert not line.hold
                continue
            ladder = unpack_ladder(blob_of(line.ladder))
            money = sum(take.amount for take in line.hold if kinds[take.bucket] == Kind.MONEY)
            priced = sum(price_of_units(account, take) for take in line.hold)
            if tier_of(ladder):
                shared[tier_of(ladder)] = shared.get(tier_of(ladder), 0) + 1
            for count in ladder.counts:
                amount = money - (0 if count.limit >= 0 else priced) if count.what else line.granted
                counted[count.key] = counted.get(count.key, 0) + amount
            for take in line.hold:  # on a tier money is held by its counter
                if kinds[take.bucket] != Kind.MONEY or not tier_of(ladder):
                    held[take.bucket] = held.get(take.bucket, 0) + take.amount
    for counter in account.counters:
        assert counter.held == counted.pop(counter.key, 0), (counter, sessions)
        assert counter.sharers == shared.pop(counter.key, 0)
        assert counter.sharers or not counter.pool, counter
        for take in counter.pool:
            assert kinds[take.bucket] == Kind.MONEY
            assert take.amount > 0
            held[take.bucket] = held.get(take.bucket, 0) + take.amount
    assert not any(counted.values()), counted
    for bucket in account.buckets:
        assert bucket.held == held.pop(bucket.id, 0), (account, sessions)
        assert bucket.held >= 0
        if bucket.id != MAIN:
            assert bucket.amount >= bucket.held >= 0, bucket
        if bucket.kind != Kind.MONEY:
            assert bucket.amount >= 0
    assert not held


def check_entries(model: Model, account: str) -> None:
    """Contiguous seq, running balances, opening (0) + sum = balance."""
    seq, balances = 0, dict[int, int]()
    for appended in model.ledger:
        if appended.record.account != account:
            continue
        for entry in appended.record.entries:
            seq += 1
            assert entry.seq == seq
            balances[entry.bucket] = balances.get(entry.bucket, 0) + entry.amount
            assert entry.after == balances[entry.bucket]
    stored = model.accounts[account]
    assert stored.seq == seq
    for bucket in stored.buckets:
        assert balances.pop(bucket.id, 0) == bucket.amount
    assert all(balance == 0 for balance in balances.values()), balances
