"""Brings the counts of a keeper into the metrics."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ocs.enforcement.session_requests import NO_ROUTE
from ocs.keeper.counts import KEPT
from ocs.keeper.keeper import Keeper
from ocs.telemetry import metrics


def kept_counts(it: Keeper, meter: metrics.Meter) -> Callable[[], None]:
    """A function that brings the metrics up to date; called before each snapshot."""
    lag_entries, lag_ms = meter.counts(metrics.LAG_ENTRIES), meter.counts(metrics.LAG_SECONDS)
    stopped, quarantined = meter.counts(metrics.STOPPED), meter.counts(metrics.QUARANTINED)
    sessions, holds, held = (meter.counts(metric) for metric in (metrics.SESSIONS, metrics.HOLDS, metrics.HELD))
    owed, by_peer, unheld = (meter.counts(metric) for metric in (metrics.OWED, metrics.HELD_BY_PEER, metrics.UNHELD))
    alarms, debited = meter.counts(metrics.VIOLATIONS), meter.counts(metrics.DEBITED)
    failed = meter.counts(metrics.KEEPER_FAILED)
    marked, posted = meter.counts(metrics.MARKED), meter.counts(metrics.POSTED)
    set_aside, session_requests = meter.counts(metrics.SET_ASIDE), meter.counts(metrics.SESSION_ASKED)
    risks, behind = meter.counts(metrics.STORE_RISKS), meter.counts(metrics.EVENTS_BEHIND)
    jobs, finished, ignored = (meter.counts(one) for one in (metrics.JOBS, metrics.JOBS_ENDED, metrics.RAR_IGNORED))
    late_ms, used, over = (meter.counts(one) for one in (metrics.JOBS_LATE, metrics.USED_AFTER, metrics.OVER_BOUND))
    sampled, findings = meter.counts(metrics.SAMPLED), meter.counts(metrics.FINDINGS)
    dropped, drop_waits = meter.counts(metrics.MONTHS_DROPPED), meter.counts(metrics.MONTHS_WAIT)
    verified_ms = meter.counts(metrics.VERIFIED_AGE)
    due_late_ms = meter.counts(metrics.DUE_LATE)
    fees, fees_late_ms = meter.counts(metrics.FEES), meter.counts(metrics.FEES_LATE)
    it.job_times.to = lambda cause, hop, ms: meter.histogram(metrics.JOB_TIME, cause, hop).add(ms * 1_000)
    for gauge, field in (
        (metrics.STORE_MEMORY, "memory_bytes"),
        (metrics.STORE_LIMIT, "memory_limit_bytes"),
        (metrics.STREAM_LENGTH, "stream_entries"),
        (metrics.SWEEP_LAG, "sweep_lag_ms"),
    ):
        meter.read(gauge, by=partial(getattr, it.stats, field))
    hook_attempts, hook_dead = meter.counts(metrics.HOOK_ATTEMPTS), meter.counts(metrics.HOOK_DEAD)
    hook_waiting, hook_age = meter.counts(metrics.HOOK_WAITING), meter.counts(metrics.HOOK_AGE)
    hook_paused = meter.counts(metrics.HOOK_PAUSED)
    for what in KEPT:
        meter.read(metrics.KEPT, what, by=partial(getattr, it.stats, what))

    def tell() -> None:
        now, totals = it.watch.now, it.totals
        lag_entries[()], lag_ms[()] = now.lag_entries, now.lag_ms
        stopped[()], quarantined[()] = len(now.stopped), now.quarantined
        risks.update(dict.fromkeys(risks, 0))
        risks.update({(risk.name,): 1 for risk in it.guard.found})
        alarms["keeper",] = it.stats.alarms
        failed.update(it.stats.failures)
        proofs = it.verifying
        alarms.update({(name,): count for name, count in proofs.found.items()})
        sampled[()] = proofs.sampled
        if proofs.ended_ms:
            findings[()], verified_ms[()] = proofs.findings, it.now_ms() - proofs.ended_ms
        dropped.update({(what,): count for what, count in it.retention.dropped.items()})
        drop_waits.update({(what,): int(bool(why)) for what, why in it.retention.waits.items()})
        debited.update(it.stats.debited)
        marked.update(it.stats.marked)
        unheld.update(it.stats.unheld)
        posted.update(it.stats.posted)
        set_aside.update(it.stats.set_aside)
        behind.clear()
        for lag in it.events.lags:
            behind[lag.kind,] = max(behind[lag.kind,], lag.behind)
        enforcer = it.enforcer
        for (kind, peer), count in enforcer.unreached.items():  # those that are sent are counted where they are
            session_requests[kind, peer, NO_ROUTE] = count
        jobs.update(dict.fromkeys(jobs, 0))
        jobs.update((key, count) for key, count in enforcer.book.counts().items())
        finished.update((key, count) for key, count in enforcer.finished.items())
        ignored.update({(peer,): count for peer, count in enforcer.ignored.items()})
        late_ms[()] = enforcer.pacing.late_ms(it.now_ms())
        due_late_ms[()] = it.due.late_ms
        fees["looked",], fees["taken",], fees["short",] = it.fees.looked, it.fees.taken, it.fees.short
        fees_late_ms[()] = it.fees.late_ms
        used[()], over[()] = enforcer.used_micro, enforcer.over_bound
        for gauge in (hook_waiting, hook_age, hook_paused):
            gauge.clear()
        hook_paused.update({(why,): count for why, count in it.dispatcher.paused.items()})
        for webhook, tallies in it.dispatcher.tallies.items():
            hook_attempts.update({(webhook, result): count for result, count in tallies.attempts.items()})
            hook_dead[webhook,] = tallies.dead
            if it.dispatcher.delivers_to(webhook):
                hook_waiting[webhook,] = tallies.waiting
                hook_age[webhook,] = max(it.now_ms() - tallies.oldest_ms, 0) if tallies.oldest_ms else 0
        owed.clear()
        owed.update({(currency,): debt.micro for currency, debt in it.owed.items()})
        if totals.complete:
            sessions[()], holds[()] = totals.sessions, totals.holds
            held.update(dict.fromkeys(held, 0))  # a currency nobody holds any more
            held.update({(currency,): micro for currency, micro in totals.held_micro.items()})
            by_peer.update(dict.fromkeys(by_peer, 0))
            by_peer.update(totals.held_by_peer)
        else:  # another keeper counts them
            for counts in (sessions, holds, held, by_peer):
                counts.clear()

    return tell
