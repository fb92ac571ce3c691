"""The balance operations on dicts: the readable specification, and the oracle of the Lua scripts.

Each method is the twin of the script of its name and follows it part by part; tests/balances/test_parity.py drives
random interleavings through both and compares answers and state after every step.
"""

from __future__ import annotations

import copy

import msgspec

from balances import keys
from balances.facts import merge
from balances.model import repeats
from balances.model.account import AccountChange
from balances.model.event import EventLines
from balances.model.granting import Asking, Granting
from balances.model.repeats import abandoned
from balances.model.session import ChargeDecision, has_use, line_outcome, wanted
from balances.structs.account import BUCKETS_MAX, MAIN, Account, Bucket
from balances.structs.blob import FORMAT, NO_BLOB, blob_of, raw_of
from balances.structs.charge import Action, Charge, Flag, Phase, Reply, Result
from balances.structs.posting import AccountOpening, AccountSettings, Expire, Post, Posting, PostingOutcome
from balances.structs.record import Record
from balances.structs.session import Answer, IdempotencyRecord, Line, Session, SessionState
from tariffs.units import EXACT_MAX

_encode = msgspec.msgpack.encode


class Appended(msgspec.Struct):
    """A record and the packed states that go with it."""

    record: Record
    account: Account | None = None
    session: Session | None = None
    once: IdempotencyRecord | None = None
    context: bytes = b""
    original: IdempotencyRecord | None = None


class Model:
    """The live store on dicts. Methods take and return what the scripts do."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.sessions: dict[str, dict[str, Session]] = {}
        self.answers: dict[tuple[str, str], IdempotencyRecord] = {}
        self.due: dict[str, int] = {}
        self.ledger: list[Appended] = []

    # --- charge -------------------------------------------------------------------------------------------------

    def charge(self, charge: Charge, context: bytes = b"") -> Reply:
        stored = self.accounts.get(charge.account)
        if stored is None:
            return Reply("absent")
        if stored.profile_rev > charge.profile_rev:
            return Reply("stale")
        change = AccountChange(copy.deepcopy(stored), charge.now_ms)
        if charge.phase == Phase.EVENT:
            return self._event(change, EventLines(change, charge), charge, context)
        return self._session(change, ChargeDecision(change, charge), charge, context)

    def _conflict(self, decision: ChargeDecision, charge: Charge, context: bytes, outcome: bytes) -> Reply:
        stored = self.accounts[charge.account]
        change = AccountChange(copy.deepcopy(stored), charge.now_ms)
        decision.change = change
        for ask in charge.asks:
            decision.usage(ask, ask.unit, flags=Flag.CONFLICT, at_ms=change.now_ms)
        session = self.sessions.get(charge.account, {}).get(charge.session) if charge.phase != Phase.EVENT else None
        record = _record(change, charge, incarnation=session.incarnation if session is not None else 0)
        self.ledger.append(Appended(record, stored, session, None, context))
        return Reply("again", outcome, marks=Flag.CONFLICT)

    def _event(self, change: AccountChange, decision: EventLines, charge: Charge, context: bytes) -> Reply:
        if charge.action in (Action.CHECK, Action.PRICE):
            if missing_ms := decision.event_longer():
                return _longer(missing_ms)
            decision.enquire(charge.asks)
            decision.balance = change.settled()
            decision.result = decision.command_result()
            return Reply("ok", _encode(decision.outcome()))
        first = self.answers.get((charge.account, charge.once_key))
        once_key, known = charge.once_key, [first] if first else []
        if first and first.fingerprint != charge.fingerprint:
            once_key = keys.renumbered(once_key, charge.fingerprint)
            second = self.answers.get((charge.account, once_key))
            known += [second] if second else []
        outcome, contradicts = decision.judge(
            Answer(charge.key, one.fingerprint, one.end_to_end, one.moved, one.outcome) for one in known
        )
        if outcome is not None:
            if contradicts:
                return self._conflict(decision, charge, context, outcome)
            return Reply("again", outcome, marks=decision.mark)
        if missing_ms := decision.event_longer():
            return _longer(missing_ms)
        paid = IdempotencyRecord(FORMAT, charge.fingerprint, charge.end_to_end, False, NO_BLOB, takes=[], counted=[])
        original = None
        if charge.action == Action.REFUND:
            original = copy.deepcopy(self.answers.get((charge.account, charge.refund_of)))
            if original is None and (given := blob_of(charge.original)):
                original = msgspec.msgpack.decode(given, type=IdempotencyRecord)
        if charge.action == Action.REFUND:
            for ask in charge.asks:
                decision.refund_event(ask, original)
        else:
            decision.debit(charge.asks, paid)
        if charge.action == Action.REFUND and decision.moved:
            change.nudges = ["final"]
        change.expire_buckets()
        decision.balance = change.check_thresholds()
        decision.result = decision.command_result()
        packed = _encode(decision.outcome())
        paid.moved, paid.outcome = decision.moved, raw_of(packed)
        change.sort()
        until_ms = change.now_ms + charge.remember_ms
        refunded = original if decision.moved else None
        record = _record(change, charge, once_key, until_ms)
        self.ledger.append(Appended(record, change.account, None, paid, context, refunded))
        self.accounts[charge.account] = change.account
        self.answers[charge.account, once_key] = paid
        if bucket_ms := decision.refund_until_ms or change.begun_ms:
            self._look_by(keys.due_member(charge.account), bucket_ms)
        if refunded is not None:
            self.answers[charge.account, charge.refund_of] = refunded
        return Reply("ok", packed, 0, 0, change.held_micro, decision.flags, change.urgent)

    def _session(self, change: AccountChange, decision: ChargeDecision, charge: Charge, context: bytes) -> Reply:
        now_ms = change.now_ms
        session = copy.deepcopy(self.sessions.get(charge.account, {}).get(charge.session))
        was_open = session is not None and session.state == SessionState.OPEN
        if session is not None:
            known, same = repeats.known_answers(charge, session)
            former = None if same else repeats.former_answer(charge, session, now_ms)
            new = repeats.is_new(charge, session, known, now_ms)
            anew = repeats.holds_again(charge, session, known, now_ms)
            outcome, contradicts = None, False
            if former is not None:
                outcome, contradicts = blob_of(former.outcome), former.fingerprint != charge.fingerprint
            elif not new and not anew:
                outcome, contradicts = decision.judge(known)
            if outcome is not None:
                if contradicts:
                    return self._conflict(decision, charge, context, outcome)
                return Reply("again", outcome, marks=decision.mark)
            if new:
                session = repeats.ended(change, charge, session)
                decision.flags |= Flag.REUSED
            elif not anew and not decision.flags & Flag.RENUMBERED and repeats.number_seen(charge, session):
                decision.outcomes = [
                    line_outcome(ask, ask.unit, Result.REMEMBERED, decision.flags) for ask in charge.asks
                ]
                decision.result = Result.REMEMBERED
                return Reply("again", _encode(decision.outcome()))
            if session.subscriber != charge.subscriber:
                if charge.phase != Phase.START or blob_of(session.initial):
                    return Reply("other", session.subscriber.encode())
                session.subscriber = charge.subscriber
        elif charge.seek:
            return Reply("elsewhere")
        else:
            session = repeats.fresh_session(charge, now_ms)
        facts = merge(blob_of(session.facts), blob_of(charge.told))
        if facts != blob_of(charge.facts):
            return Reply("facts", blob_of(session.facts))
        session.facts = raw_of(facts)
        state, may_grant, refused_as, marks = decision.enter_state(session)
        if charge.phase in (Phase.UPDATE, Phase.STOP):
            charge = decision.charge = msgspec.structs.replace(charge, asks=[copy.copy(ask) for ask in charge.asks])
            decision.with_beside(session)

        # Pass 1: settle every reported line and release its hold, one line after the other: what one line used beyond
        # its grant must not eat what the next one holds. An INITIAL or TERMINATION releases all holds.
        touched = [
            decision.line_for(session, ask) if refused_as is None or has_use(ask) else None for ask in charge.asks
        ]
        if missing_ms := decision.longer(touched):
            return _longer(missing_ms)
        owned: dict[int, tuple[dict[int, int], int]] = {}
        opened: Line | None = None

        def close(line: Line) -> None:
            own, left = owned[id(line)]
            change.repool(line, own, left, charge.event_ms)
            owned[id(line)] = ({}, 0)

        for index, ask in enumerate(charge.asks):
            decision.outcomes.append(line_outcome(ask, ask.unit, Result.NO_GRANT, decision.flags))
            line = touched[index]
            if line is None:
                continue
            if opened is not None and opened is not line:
                close(opened)
            opened = line
            if id(line) not in owned:
                own, granted = owned[id(line)] = change.release_hold(line)
                decision.moved |= bool(granted or own)
            if charge.phase != Phase.START or has_use(ask):
                own, granted = owned[id(line)]
                follows = charge.asks[index + 1 : index + 2]
                beside = touched[index + 1] if follows and follows[0].secondary == 1 else None
                owned[id(line)] = own, decision.settle_line(index, line, beside, own, granted, marks)
        if opened is not None:
            close(opened)
        if refused_as is None and charge.phase in (Phase.START, Phase.STOP):
            for line in session.lines:
                if line.due_ms:
                    change.release(line, charge.event_ms)
                    decision.moved = True
        change.expire_buckets()
        decision.balance = change.check_thresholds()

        # Passes 2 and 3
        asking: list[Asking] = []
        asked_for: list[Line] = []
        for index, ask in enumerate(charge.asks):
            outcome_of, line = decision.outcomes[index], touched[index]
            if line is not None:
                outcome_of.unit, outcome_of.debited = line.unit, line.debited
            if refused_as is not None or line is None:
                outcome_of.result = refused_as or Result.UNABLE
                continue
            if may_grant and ask.asked >= 0:
                odd = any(line is other for other in (*decision.crowded, *asked_for))
                asked_for.append(line)
                outcome_of.result = Result.UNABLE if odd else decision.refusal(ask)
                if outcome_of.result == Result.OK:
                    asking.append(Asking(index, ask, line, wanted(ask)))
            elif decision.result == Result.SESSION_UNKNOWN:
                outcome_of.result = Result.SESSION_UNKNOWN
        granting = Granting(change, session.lines, decision.outcomes, charge.event_ms)
        granting.grant(asking)
        decision.moved |= granting.granted
        for index, outcome_of in enumerate(decision.outcomes):  # refused for what may change: told when it does
            waits = touched[index]
            if may_grant and waits and outcome_of.result in (Result.CREDIT_LIMIT, Result.DENIED):
                waits.final = True
            if (
                outcome_of.secondary and outcome_of.result == Result.NO_GRANT
            ):  # refused with its line, or that goes on alone
                main = decision.outcomes[index - 1]
                outcome_of.result = main.result
                if waits and main.granted and not waits.due_ms:
                    waits.ladder = NO_BLOB
        for index, ask in enumerate(charge.asks):
            outcome_of = decision.outcomes[index]
            if index in decision.last_usage:
                decision.last_usage[index].granted = outcome_of.granted
                decision.last_usage[index].result = outcome_of.result
            elif outcome_of.granted:
                granted, of = outcome_of.granted, touched[index]
                total = of.total if of else 0
                decision.usage(ask, outcome_of.unit, blob_of(ask.ladder), total=total, granted=granted)
            elif outcome_of.result not in (Result.OK, Result.NO_GRANT):
                decision.usage(ask, outcome_of.unit, result=outcome_of.result)
        decision.debited = min(sum(line.debited for line in session.lines), EXACT_MAX)

        if refused_as is not None:
            decision.result = refused_as
        elif may_grant and decision.outcomes and (charge.phase == Phase.START or charge.single):
            why = decision.command_result()
            portal = any(ask.portal for ask in charge.asks)
            if why != Result.OK and not (portal and why == Result.CREDIT_LIMIT):
                decision.result = why
                if charge.phase == Phase.START:
                    state = SessionState.REFUSED
                else:  # a command-level failure releases every hold
                    state = SessionState.CLOSED
                    for line in session.lines:
                        if line.due_ms:
                            change.release(line, charge.event_ms)
                    change.expire_buckets()
        if (state == SessionState.OPEN and not was_open) or charge.phase == Phase.STOP:
            decision.moved = True
        late = refused_as is not None
        return self._keep(change, decision, charge, context, session, state, was_open, late=late)

    def _keep(
        self,
        change: AccountChange,
        decision: ChargeDecision,
        charge: Charge,
        context: bytes,
        session: Session,
        state: int,
        was_open: bool,
        *,
        late: bool,
    ) -> Reply:
        now_ms = change.now_ms
        if state == SessionState.OPEN:
            due_ms = min([now_ms + charge.idle_ms, *(line.due_ms for line in session.lines if line.due_ms)])
            session.forget_ms = 0
            if charge.origin_state or session.peer != charge.peer:
                session.origin_state = charge.origin_state
            session.peer, session.realm, session.via = charge.peer, charge.realm, charge.via
        else:
            if session.forget_ms == 0 or charge.phase == Phase.STOP:
                session.forget_ms = now_ms + charge.remember_ms
            elif decision.moved:  # remembered for so long after the last that was charged
                session.forget_ms = max(session.forget_ms, now_ms + charge.remember_ms)
            due_ms = session.forget_ms
        change.sessions = (state == SessionState.OPEN) - was_open
        sooner = session.due_ms == 0 or due_ms < session.due_ms
        if sooner:
            session.due_ms = due_ms
        session.state = state
        session.touched_ms = max(now_ms, session.touched_ms + 1)  # names this touch: no other one has it
        packed = _encode(decision.outcome())
        repeats.remember(session, charge, packed, now_ms, moved=decision.moved, late=late)
        record = _record(change, charge, incarnation=session.incarnation)
        self.ledger.append(Appended(record, change.account, session, None, context))
        self.accounts[charge.account] = change.account
        self.sessions.setdefault(charge.account, {})[charge.session] = session
        if sooner:
            self._look_by(keys.due_member(charge.account, charge.session), due_ms)
        if change.begun_ms:
            self._look_by(keys.due_member(charge.account), change.begun_ms)
        return Reply("ok", packed, change.sessions, change.holds, change.held_micro, decision.flags, change.urgent)

    def _look_by(self, member: str, at_ms: int) -> None:
        self.due[member] = min(self.due.get(member, at_ms), at_ms)

    def aside(self, record: Record, context: bytes = b"") -> Reply:
        self.ledger.append(Appended(record, context=context))
        return Reply("ok")

    # --- the back office ----------------------------------------------------------------------------------------

    def post(self, post: Post) -> Reply:
        stored = self.accounts.get(post.account)
        if stored is None:
            return Reply("absent")
        known = self.answers.get((post.account, post.key)) if post.key else None
        if known is not None:
            same = known.fingerprint == post.fingerprint
            return Reply("again", blob_of(known.outcome)) if same else Reply("conflict")
        change = AccountChange(copy.deepcopy(stored), post.now_ms)
        change.expire_buckets()
        result, next_due = Result.OK, 0
        for posting in post.postings:
            bucket = self._new_bucket(change, posting) if posting.bucket < 0 else change.bucket(posting.bucket)
            if result != Result.OK:
                continue
            if bucket is None:
                result = Result.TOO_MUCH if posting.bucket < 0 else Result.NOT_FOUND
            elif (
                posting.amount < 0
                and (post.own_only or bucket.id != MAIN)
                and bucket.amount - bucket.held + posting.amount < 0
            ) or (
                posting.amount < 0
                and post.keeps_held
                and bucket.id == MAIN
                and bucket.amount - bucket.held + change.account.credit_limit + posting.amount < 0
            ):
                result = Result.CREDIT_LIMIT
            elif posting.amount > change.room_in(bucket) or bucket.amount + posting.amount < -EXACT_MAX:
                result = Result.TOO_MUCH
            else:
                change.post_entry(bucket, posting.amount, posting.counter_account, posting.why)
                if posting.amount:
                    change.entries[-1].original, change.entries[-1].terms = posting.original, posting.terms
                if posting.amount > 0:
                    change.nudges = ["final"]
                if bucket.until_ms:
                    next_due = min(next_due or bucket.until_ms, bucket.until_ms)
        balance = change.check_thresholds()
        entries = change.entries if result == Result.OK else []
        packed = _encode(PostingOutcome(result, entries, balance, change.account.state))
        if result != Result.OK:
            return Reply("refused", packed)
        change.sort()
        once = IdempotencyRecord(FORMAT, post.fingerprint, 0, True, raw_of(packed)) if post.key else None
        record = change.record(
            "post",
            key=post.key,
            fingerprint=post.fingerprint,
            actor=post.actor,
            reason=post.reason,
            reference=post.reference,
            once_key=post.key,
            once_until_ms=change.now_ms + post.remember_ms,
        )
        self.ledger.append(Appended(record, change.account, None, once))
        self.accounts[post.account] = change.account
        if once is not None:
            self.answers[post.account, post.key] = once
        if next_due:
            self._look_by(keys.due_member(post.account), next_due)
        return Reply("ok", packed)

    @staticmethod
    def _new_bucket(change: AccountChange, posting: Posting) -> Bucket | None:
        """In the place of an empty one where the account is full; None when there is none."""
        account = change.account
        if len(account.buckets) >= BUCKETS_MAX:
            for bucket in account.buckets:
                if bucket.id != MAIN and bucket.amount == 0 and bucket.held == 0:
                    account.buckets.remove(bucket)
                    break
        if len(account.buckets) >= BUCKETS_MAX:
            return None
        bucket = Bucket(
            account.next_bucket,
            posting.kind,
            0,
            0,
            posting.priority,
            posting.from_ms,
            posting.until_ms,
            posting.scope,
            posting.name,
            posting.window_ms,
        )
        account.next_bucket += 1
        account.buckets.append(bucket)
        return bucket

    def settings(self, asked: AccountSettings) -> Reply:
        stored = self.accounts.get(asked.account)
        if stored is None:
            return Reply("absent")
        if asked.if_rev is not None and asked.if_rev != stored.rev:
            return Reply("revision", _encode(stored))
        change = AccountChange(copy.deepcopy(stored), asked.now_ms)
        account = change.account
        due: set[str] = set()
        if asked.profile_rev is not None and asked.profile_rev > account.profile_rev:
            due |= {"members", "final"}  # a member may be served no more, or again, or at another price
            account.profile_rev = asked.profile_rev
        if asked.credit_limit is not None:
            if asked.credit_limit != account.credit_limit:
                due.add("all" if asked.credit_limit < account.credit_limit else "final")
            account.credit_limit = asked.credit_limit
        if asked.suspend_below is not None:
            account.suspend_below = asked.suspend_below
        if asked.resume_at is not None:
            account.resume_at = asked.resume_at
        amounts = (account.credit_limit, account.suspend_below, account.resume_at)
        if account.resume_at < account.suspend_below or any(abs(amount) > EXACT_MAX for amount in amounts):
            return Reply("refused", _encode(stored))
        account.state = (account.state | asked.set_state) & ~asked.clear_state
        if account.state & ~stored.state:
            due.add("all")
        if stored.state & ~account.state:
            due.add("final")
        change.check_thresholds()
        if "resume" in change.threshold_events:
            due.add("final")
        change.nudges = [kind for kind in ("members", "final", "all") if kind in due]
        if account.state != stored.state or (asked.credit_limit, asked.suspend_below, asked.resume_at) != (
            None,
            None,
            None,
        ):
            account.rev += 1
        record = change.record("settings", actor=asked.actor, reason=asked.reason)
        self.ledger.append(Appended(record, account))
        self.accounts[account.id] = account
        return Reply("ok", _encode(account))

    # --- time ---------------------------------------------------------------------------------------------------

    def expire(self, expire: Expire) -> Reply:
        stored = self.accounts.get(expire.account)
        session = copy.deepcopy(self.sessions.get(expire.account, {}).get(expire.session))
        member = keys.due_member(expire.account, expire.session)
        if stored is None or (expire.session and session is None):
            self.due.pop(member, None)
            if expire.session:
                self.sessions.get(expire.account, {}).pop(expire.session, None)
            return Reply("gone" if stored is not None else "absent")
        account = copy.deepcopy(stored)
        change = AccountChange(account, expire.now_ms)
        now_ms = expire.now_ms
        due_ms, changed, reason, forget = 0, False, "expired", False
        if session is not None:
            due_ms, changed, reason, forget = self._expire_session(change, expire, session)
            session.due_ms = due_ms
        if not forget:
            change.expire_buckets()  # at the account's clock: supervision may look back, an account never does
            change.check_thresholds()
            changed = changed or bool(change.entries)
            if session is None:
                due_ms = min((b.until_ms for b in account.buckets if b.until_ms > now_ms), default=0)
                forget = due_ms == 0
        if changed:
            record = change.record("expire", session=expire.session, reason=reason, at_ms=now_ms, event_ms=now_ms)
            if session is not None:
                record.subscriber, record.service = session.subscriber, session.service
                record.incarnation = session.incarnation
            if change.holds:  # others may have waited for what was held
                record.nudges = ["final"]
            self.ledger.append(Appended(record, account, session))
            self.accounts[account.id] = account
        if forget:
            self.due.pop(member, None)
            if session is not None:
                del self.sessions[expire.account][expire.session]
            return Reply("ok" if changed else "gone")
        self.due[member] = due_ms
        if session is not None:
            self.sessions[expire.account][expire.session] = session
        return Reply("ok" if changed else "later", b"", change.sessions, change.holds, change.held_micro)

    @staticmethod
    def _expire_session(change: AccountChange, expire: Expire, session: Session) -> tuple[int, bool, str, bool]:
        """(next due, something changed, reason, forget it)"""
        now_ms = expire.now_ms
        if session.state != SessionState.OPEN:
            return session.forget_ms, False, "expired", session.forget_ms <= now_ms
        due_ms, changed, idle = session.touched_ms + expire.idle_ms, False, True
        ends = session.touched_ms == expire.touched_ms
        for line in session.lines:
            if line.due_ms and (ends or line.due_ms <= now_ms):
                change.usages.append(abandoned(line, now_ms))
                change.release(line, now_ms)
                changed = True
            elif line.due_ms:
                idle, due_ms = False, min(due_ms, line.due_ms)
        if idle and (changed or ends or due_ms <= now_ms):
            session.state = SessionState.ABANDONED
            session.forget_ms = now_ms + expire.remember_ms
            change.sessions = -1
            return session.forget_ms, True, "abandoned", False
        return due_ms, changed, "expired", False

    def open(self, account_id: str, opening: AccountOpening) -> Reply:
        """Bring an account in, new or restored, only if it is absent."""
        if account_id in self.accounts:
            return Reply("exists")
        account = msgspec.msgpack.decode(blob_of(opening.account), type=Account)
        record = Record(
            FORMAT,
            opening.kind,
            account.id,
            account.currency,
            at_ms=opening.now_ms,
            event_ms=opening.now_ms,
            entries=opening.entries,
            actor=opening.actor,
        )
        self.ledger.append(Appended(record, account))
        self.accounts[account_id] = account
        for kept in opening.sessions:
            session = msgspec.msgpack.decode(blob_of(kept.packed), type=Session)
            self.sessions.setdefault(account_id, {})[kept.key] = session
            self.due[keys.due_member(account_id, kept.key)] = kept.until_ms
        for kept in opening.answers:
            self.answers[account_id, kept.key] = msgspec.msgpack.decode(blob_of(kept.packed), type=IdempotencyRecord)
        expiries = [bucket.until_ms for bucket in account.buckets if bucket.until_ms]
        if expiries:
            self._look_by(keys.due_member(account_id), min(expiries))
        return Reply("ok", blob_of(opening.account))


def _longer(missing_ms: int) -> Reply:
    """Nothing was written: the use that is reported has to be rated from there on first."""
    return Reply("longer", b"%d" % missing_ms)


def _record(
    change: AccountChange, charge: Charge, once_key: str = "", once_until_ms: int = 0, *, incarnation: int = 0
) -> Record:
    return change.record(
        "charge",
        subscriber=charge.subscriber,
        session=charge.session,
        service=charge.service,
        phase=charge.phase,
        event_ms=charge.event_ms,
        key=charge.key,
        fingerprint=charge.fingerprint,
        end_to_end=charge.end_to_end,
        once_key=once_key,
        once_until_ms=once_until_ms,
        refund_of=charge.refund_of,
        incarnation=incarnation,
        actor=charge.actor,
        reason=charge.reason,
        reference=charge.reference,
    )
