"""Converts thresholds of accounts to the types of the API, and back."""

from __future__ import annotations

from balances.structs.account import Account
from balances.structs.thresholds import ServiceSuspension, Threshold
from balances.watched import levels_of, watched
from ocs.api.schema import ServiceLineView, ThresholdView
from ocs.api.schema_thresholds import ServiceLinePut, ThresholdPut
from ocs.api.texts import time_or_none
from ocs.backoffice.amounts import KIND_OF, KINDS, amount_of, micro_of, money, quantity
from ocs.backoffice.errors import Invalid


def threshold_of(name: str, body: ThresholdPut) -> Threshold:
    """As it is stored; Invalid where the levels do not fit each other."""
    kind = KIND_OF[body.kind]
    if (body.below is None) == (body.percent is None):
        raise Invalid("below", "expected below or percent, one of them")
    if body.percent is not None:
        if body.rearm is not None:
            raise Invalid("rearm", "of a percentage: rearm_percent")
        percent, below, rearm, way_back = body.percent, 0, body.rearm_percent or body.percent, "rearm_percent"
    else:
        if body.rearm_percent is not None:
            raise Invalid("rearm_percent", "only with percent")
        percent, below = 0, amount_of(body.below or "", kind, "below")
        rearm, way_back = (below if body.rearm is None else amount_of(body.rearm, kind, "rearm")), "rearm"
    if rearm < (percent or below):
        raise Invalid(way_back, "not below the level itself, or it would never be at rest")
    return Threshold(name, kind, below, rearm, percent, body.bucket, body.service or "")


def threshold_view(threshold: Threshold, account: Account, now_ms: int) -> ThresholdView:
    kind, percent = threshold.kind, threshold.percent
    value, filled = watched(threshold, account.buckets, now_ms)
    levels = levels_of(threshold, filled)
    return ThresholdView(
        name=threshold.name,
        kind=KINDS[kind],
        below=None if percent else quantity(kind, threshold.below),
        percent=percent or None,
        rearm=None if percent else quantity(kind, threshold.rearm),
        rearm_percent=threshold.rearm if percent else None,
        bucket=threshold.bucket,
        service=threshold.service or None,
        state="crossed" if threshold.crossed_ms else "armed",
        crossed_since=time_or_none(threshold.crossed_ms),
        value=quantity(kind, value),
        level=None if levels is None else quantity(kind, levels.below),
        tariff=threshold.tariff or None,
    )


def threshold_views(account: Account, now_ms: int) -> list[ThresholdView]:
    return [threshold_view(one, account, now_ms) for one in account.thresholds]


def service_line_of(service: str, body: ServiceLinePut) -> ServiceSuspension:
    below = micro_of(body.suspend_below, "suspend_below")
    return ServiceSuspension(service, below, below if body.resume_at is None else micro_of(body.resume_at, "resume_at"))


def service_line_view(line: ServiceSuspension) -> ServiceLineView:
    return ServiceLineView(
        service=line.service,
        suspend_below=money(line.suspend_below),
        resume_at=money(line.resume_at),
        state="suspended" if line.suspended_ms else "active",
        suspended_since=time_or_none(line.suspended_ms),
    )
