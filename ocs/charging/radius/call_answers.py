"""What a voice gateway is told of a caller and of a call (h323 attributes, docs/radius.md). Pure."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from balances.structs.account import REFUSING, Account, Bucket, SuspendReasons
from balances.structs.charge import Result
from ocs.charging.outcomes import OUTCOMES
from ocs.charging.radius.authorisation import said
from ocs.charging.radius.calls import VOICE
from ocs.charging.radius.h323 import written
from ocs.charging.radius.nas import NasProfile
from ocs.charging.radius.vendor_profile import VendorProfile
from protocol.radius.dictionary.cisco import (
    H323_BILLING_MODEL,
    H323_CREDIT_AMOUNT,
    H323_CREDIT_TIME,
    H323_CURRENCY,
    H323_RETURN_CODE,
)
from protocol.radius.dictionary.standard import CLASS, SESSION_TIMEOUT
from tariffs.units import Kind


class ReturnCode(IntEnum):
    """h323-return-code: what the gateway's announcement is chosen by."""

    OK = 0
    INVALID_ACCOUNT = 1
    INVALID_PASSWORD = 2
    IN_USE = 3
    ZERO_BALANCE = 4
    EXPIRED = 5
    OVER_LIMIT = 6
    DENIED = 7
    BLOCKED_NUMBER = 9
    INSUFFICIENT_BALANCE = 11


RETURN_CODES: Final = {
    Result.OK: ReturnCode.OK,
    Result.USER_UNKNOWN: ReturnCode.INVALID_ACCOUNT,
    Result.CREDIT_LIMIT: ReturnCode.INSUFFICIENT_BALANCE,
    Result.DENIED: ReturnCode.DENIED,
    Result.RATING_FAILED: ReturnCode.BLOCKED_NUMBER,
}
"""Of a call that is refused; another result is DENIED."""
CALLER_WORDS: Final = {
    ReturnCode.DENIED: OUTCOMES[Result.DENIED].words,
    ReturnCode.ZERO_BALANCE: OUTCOMES[Result.CREDIT_LIMIT].words,
    ReturnCode.IN_USE: "all that there is, is held by calls that are under way",
}
"""Reply-Message of a caller who is refused."""

CENT_MICRO: Final = 10_000


def credit_of(account: Account, service: str, now_ms: int) -> int:
    """Money that can be spent on a service, in micro-units: what is in force and not held, with the credit limit."""
    money = [bucket for bucket in account.buckets if bucket.kind == Kind.MONEY and _pays(bucket, service, now_ms)]
    return sum(bucket.amount - bucket.held for bucket in money) + account.credit_limit


def refusal_of_caller(account: Account, service: str, now_ms: int) -> ReturnCode:
    """Why nothing can be called whatever is dialled; OK where it depends on that."""
    if account.state & REFUSING:
        return ReturnCode.DENIED
    if account.state & SuspendReasons.CREDIT:
        return ReturnCode.ZERO_BALANCE
    paying = [bucket for bucket in account.buckets if _pays(bucket, service, now_ms)]
    units = [bucket for bucket in paying if bucket.kind != Kind.MONEY]
    if credit_of(account, service, now_ms) > 0 or any(bucket.amount > bucket.held for bucket in units):
        return ReturnCode.OK
    return ReturnCode.IN_USE if any(bucket.held for bucket in paying) else ReturnCode.ZERO_BALANCE


def caller_attributes(account: Account, service: str, now_ms: int) -> bytes:
    """Of an Access-Accept: the money there is, rounded down to cents, its currency, and whether it is paid ahead."""
    cents = max(credit_of(account, service, now_ms), 0) // CENT_MICRO
    is_prepaid = account.credit_limit <= 0
    return b"".join(
        (
            written(H323_RETURN_CODE, int(ReturnCode.OK)),
            written(H323_CREDIT_AMOUNT, f"{cents // 100}.{cents % 100:02d}"),
            written(H323_CURRENCY, account.currency),
            written(H323_BILLING_MODEL, int(is_prepaid)),
        )
    )


def call_attributes(vendor: VendorProfile, reference: bytes, seconds: int) -> bytes:
    """Of an Access-Accept: how long the call may last, as its maker spells it."""
    if vendor.knows("time_limit"):
        limit = vendor.sends("time_limit", {"seconds": seconds})
    else:
        limit = written(H323_CREDIT_TIME, seconds)
    return CLASS.pack(reference) + SESSION_TIMEOUT.pack(seconds) + limit


def refused_call(result: Result) -> bytes:
    """Of an Access-Reject."""
    return refusal(RETURN_CODES.get(result, ReturnCode.DENIED), OUTCOMES[result].words)


def login_refusal(nas: NasProfile, code: ReturnCode) -> bytes:
    """Of an Access-Reject of somebody who did not prove who he is; nothing where it is no gateway."""
    return written(H323_RETURN_CODE, int(code)) if nas.service == VOICE else b""


def refusal(code: ReturnCode, words: str) -> bytes:
    return written(H323_RETURN_CODE, int(code)) + said(words)


def _pays(bucket: Bucket, service: str, now_ms: int) -> bool:
    if bucket.scope and service not in bucket.scope:
        return False
    return bucket.from_ms <= now_ms and (bucket.until_ms == 0 or bucket.until_ms > now_ms)
