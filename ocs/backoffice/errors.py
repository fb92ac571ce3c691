"""Every "no" of the back office, by what a caller can do about it.

They know nothing of HTTP: each skin maps each class once (ocs/api/problems.py). Master data (ocs/master) refuses with
the same classes.
"""

from __future__ import annotations


class BackOfficeError(Exception):
    """`detail` is one sentence for the caller, `more` are facts it may act on, by name."""

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
    """It names something (an account, a tariff, an entry) that does not exist or does not cover it."""


class Forbidden(BackOfficeError):
    """The caller may not do this."""


# --- what was asked does not go with what is there


class NotFound(BackOfficeError):
    """There is no such thing."""


class Conflict(BackOfficeError):
    """It contradicts what is there."""


class Immutable(BackOfficeError):
    """It can no longer be changed."""


class IdentityTaken(BackOfficeError):
    """An identity belongs to another subscriber."""


class KeyReused(BackOfficeError):
    """The key under which it is done once came with something else before."""

    def __init__(self) -> None:
        super().__init__("the same Idempotency-Key came with another body or path: use a new key")


class VersionConflict(BackOfficeError):
    """It has changed since the caller read it."""


class VersionRequired(BackOfficeError):
    """It exists: the caller has to say which version it read."""


# --- the account does not take it


class InsufficientFunds(BackOfficeError):
    """What is free of the account does not cover it."""


class NoRoom(BackOfficeError):
    """Too many buckets, or an amount past what is exact."""


class AccountClosed(BackOfficeError):
    """No money goes to an account that is closed."""


# --- a store does not take it


class Unavailable(BackOfficeError):
    """A store cannot be asked now; nothing was done."""


class FateUnknown(BackOfficeError):
    """A store did not answer: it may have been done, or not. The same again, under the same key, is safe."""
