"""What time alone changes: holds that expired, buckets that expired, sessions to forget. Twin of lua/expire.lua."""

from __future__ import annotations

import copy

from balances import keys
from balances.model.account import AccountChange
from balances.model.kept import Appended, ModelStore
from balances.model.life import end_grace
from balances.model.lines import release
from balances.model.reached import end_limits, limits_due
from balances.model.repeats import abandoned_usage
from balances.model.thresholds import check_thresholds
from balances.structs.charge import Reply
from balances.structs.posting import Expire
from balances.structs.session import Session, SessionState


class _Expiry:
    """What is found so far."""

    def __init__(self, change: AccountChange, asked: Expire, session: Session | None) -> None:
        self.change, self.asked, self.session = change, asked, session
        self.due_ms, self.changed, self.reason, self.gone = 0, False, "expired", False

    def expire_session(self, session: Session) -> None:
        """What a session that is open holds no longer, and whether it is still open."""
        now_ms, idle, ends = self.asked.now_ms, True, session.touched_ms == self.asked.touched_ms
        self.due_ms = session.touched_ms + self.asked.idle_ms
        for line in session.lines:
            if line.due_ms and (ends or line.due_ms <= now_ms):
                self.change.usages.append(abandoned_usage(line, now_ms))
                release(self.change, line, now_ms)
                self.change.reauthorize, self.changed = ["final"], True  # others may have waited for what was held
            elif line.due_ms:
                idle, self.due_ms = False, min(self.due_ms, line.due_ms)
        if idle and (self.changed or ends or self.due_ms <= now_ms):
            session.state = SessionState.ABANDONED
            session.forget_ms = self.due_ms = now_ms + self.asked.remember_ms
            self.changed, self.reason = True, "abandoned"

    def decide(self) -> None:
        session, now_ms = self.session, self.asked.now_ms
        if session is not None:
            if session.state == SessionState.OPEN:
                self.expire_session(session)
            else:
                self.due_ms = session.forget_ms
                self.gone = self.due_ms <= now_ms
            session.due_ms = self.due_ms
        if self.gone:
            return
        self.changed |= end_grace(self.change)
        self.change.expire_buckets()  # at the account's clock: supervision may look back, an account never does
        check_thresholds(self.change)
        if end_limits(self.change):
            self.change.reauthorize, self.changed = ["final"], True  # there is room again
        self.changed = self.changed or bool(self.change.entries or self.change.reauthorize)
        if session is None:
            account = self.change.account
            ends = [bucket.until_ms for bucket in account.buckets if bucket.until_ms > now_ms]
            others = (limits_due(account, now_ms), account.grace_until_ms)
            self.due_ms = min([*ends, *filter(None, others)], default=0)
            self.gone = self.due_ms == 0


def expire(store: ModelStore, asked: Expire) -> Reply:
    stored = store.accounts.get(asked.account)
    session = copy.deepcopy(store.sessions.get(asked.account, {}).get(asked.session))
    if stored is None or (asked.session and session is None):
        store.forget(asked.account, asked.session)
        return Reply("gone" if stored is not None else "absent")
    change, now_ms = AccountChange(copy.deepcopy(stored), asked.now_ms), asked.now_ms
    found = _Expiry(change, asked, session)
    found.decide()
    if found.changed:
        record = change.change_record(
            "expire", session=asked.session, reason=found.reason, at_ms=now_ms, event_ms=now_ms
        )
        if session is not None:
            record.subscriber, record.service = session.subscriber, session.service
            record.incarnation = session.incarnation
        store.ledger.append(Appended(record, change.account, session))
        store.accounts[asked.account] = change.account
    if found.gone:
        store.forget(asked.account, asked.session)
        return Reply("ok" if found.changed else "gone")
    store.due[keys.due_member(asked.account, asked.session)] = found.due_ms
    if session is not None:
        store.sessions[asked.account][asked.session] = session
    return Reply("ok" if found.changed else "later")
