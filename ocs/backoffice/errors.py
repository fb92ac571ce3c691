"""All refusals of the back office, by what a caller can do about them.

They know nothing of HTTP: each interface maps each class once (ocs/api/problems.py). Master data (ocs/master) refuses
with the same classes.
"""

from __future__ import annotations


class BackOfficeError(Exception):
    """Base class. `detail` is one sentence for the caller, `more` has facts it may act on, by name."""

    def __init__(self, detail: str, **more: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.more = more


# --- what was asked is wrong in itself


class Invalid(BackOfficeError):
    """A value is not what it must be. field: which one, as a path of names; "" for the whole."""

    def __init__(self, field: str, message: str, **more: object) -> None:
        super().__init__(f"{field}: {message}" if field else message, **more)
        self.field, self.message = field, message


class Unresolved(BackOfficeError):
    """The request names something (an account, a tariff, an entry) that does not exist or does not suffice."""


class Forbidden(BackOfficeError):
    """The caller may not do this."""


# --- what was asked does not go with what is there


class NotFound(BackOfficeError):
    """There is no such thing."""


class Forgotten(BackOfficeError):
    """It was there, and is not kept any more."""


class Conflict(BackOfficeError):
    """The request contradicts what exists."""


class Immutable(BackOfficeError):
    """The thing can no longer be changed."""


class IdentityTaken(BackOfficeError):
    """An identity belongs to another subscriber."""


class KeyReused(BackOfficeError):
    """The idempotency key was used before for another request."""

    def __init__(self) -> None:
        super().__init__("the same Idempotency-Key came with another body or path: use a new key")


class VersionConflict(BackOfficeError):
    """The thing has changed since the caller read it."""


class VersionRequired(BackOfficeError):
    """The thing exists: the caller has to name the version it read."""


class LockedOut(BackOfficeError):
    """Too many wrong tries: nothing more is looked at for `retry_after_s`."""


# --- the account does not take it


class InsufficientFunds(BackOfficeError):
    """The free funds of the account do not cover the amount."""


class NoRoom(BackOfficeError):
    """Too many buckets, or an amount past what is exact."""


class StillHeld(BackOfficeError):
    """Something of the account is set aside for use under way."""


class BalanceRemains(BackOfficeError):
    """The account has or owes something, and nobody said what becomes of it."""


class AccountClosed(BackOfficeError):
    """No money goes to an account that is closed."""


class AccountBarred(BackOfficeError):
    """The account is suspended by hand or closed: nothing is moved out of it."""


class LimitPassed(BackOfficeError):
    """More than may be moved at once, or in a period."""


class TransferReturned(BackOfficeError):
    """The other account did not take a transfer: all of it is back."""


# --- a store does not take it


class Unavailable(BackOfficeError):
    """A store cannot be asked now; nothing was done."""


class FateUnknown(BackOfficeError):
    """A store did not answer: it may have been done, or not. The same again, under the same key, is safe."""
