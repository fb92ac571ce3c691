"""Settle what was used, hold what is asked, debit events; once per request. Twin of lua/charge.lua."""

from __future__ import annotations

import copy

from balances import keys
from balances.model.account import AccountChange
from balances.model.crowd import is_crowded
from balances.model.event import EventDecision, decide_event
from balances.model.kept import Appended, ModelStore
from balances.model.session import SessionDecision, decide_session
from balances.structs.account import Account
from balances.structs.charge import Charge, Flag, Phase, Reply


def charge(store: ModelStore, charge: Charge, context: bytes = b"") -> Reply:
    stored = store.accounts.get(charge.account)
    if stored is None:
        return Reply("absent")
    if charge.sessions_max >= 0 and is_crowded(charge, store.sessions.get(charge.account, {}).values()):
        return Reply("crowded")
    if stored.profile_rev > charge.profile_rev:
        return Reply("stale")
    if stored.profile_rev < charge.moved_rev:
        return Reply("untold")
    change = AccountChange(copy.deepcopy(stored), charge.now_ms)
    if charge.phase == Phase.EVENT:
        return _event(store, EventDecision(charge, change, context), stored)
    return _session(store, SessionDecision(charge, change, context), stored)


def _event(store: ModelStore, decision: EventDecision, stored: Account) -> Reply:
    charge, change, context = decision.charge, decision.change, decision.context
    names = (charge.once_key, keys.renumbered(charge.once_key, charge.fingerprint), charge.refund_of)
    known = (copy.deepcopy(store.answers.get((charge.account, name))) for name in names)
    reply = decide_event(decision, *known)
    if reply is not None:
        return reply
    if decision.conflict is not None:
        store.ledger.append(Appended(decision.charge_record(), stored, None, None, context))
        return Reply("again", decision.conflict, Flag.CONFLICT)
    record = decision.charge_record(decision.key, change.now_ms + charge.remember_ms)
    store.ledger.append(Appended(record, change.account, None, decision.answer, context, decision.source))
    store.accounts[charge.account] = change.account
    store.answers[charge.account, decision.key] = decision.answer
    if decision.source is not None:
        store.answers[charge.account, charge.refund_of] = decision.source
    if change.due_ms:
        store.look_by(charge.account, "", change.due_ms)
    return Reply("ok", decision.outcome, decision.flags, change.urgent)


def _session(store: ModelStore, decision: SessionDecision, stored: Account) -> Reply:
    charge, change, context = decision.charge, decision.change, decision.context
    sessions = store.sessions.get(charge.account, {})
    kept = sessions.get(charge.session)
    decision.adopted = copy.deepcopy(sessions.get(charge.adopts))
    reply = decide_session(decision, copy.deepcopy(kept))
    if reply is not None:
        return reply
    if decision.conflict is not None:
        store.ledger.append(Appended(decision.charge_record(), stored, kept, None, context))
        return Reply("again", decision.conflict, Flag.CONFLICT)
    store.ledger.append(Appended(decision.charge_record(), change.account, decision.session, None, context))
    store.accounts[charge.account] = change.account
    store.sessions.setdefault(charge.account, {})[charge.session] = decision.session
    if decision.adopted is not None:
        del store.sessions[charge.account][charge.adopts]
    if decision.due_ms:
        store.look_by(charge.account, charge.session, decision.due_ms)
    if change.due_ms:
        store.look_by(charge.account, "", change.due_ms)
    return Reply("ok", decision.outcome, decision.flags, change.urgent)
