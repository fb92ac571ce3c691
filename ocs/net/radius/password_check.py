"""Is it the password? Without holding up the loop where only a hash of it is kept.

A hash is compared in a thread, a few at a time; a password that was right is remembered for a while, by a digest that
is worth nothing outside this process, so that who logs in again costs nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ocs.charging.radius.credentials import (
    CHALLENGED,
    WRONG_PASSWORD,
    LoginMethod,
    LoginVerdict,
    judge_password,
    refusal_of,
    typed_password,
)
from ocs.master.passwords import HASHED, StoredPasswords
from protocol.radius.packet import Packet

REMEMBERED_MAX: Final = 20_000
REMEMBERED_S: Final = 3_600.0
WAITING_MAX: Final = 64
RANDOM_BYTES: Final = 18


class HashedOnly(Exception):
    """The method needs the password itself, and only a hash of it is kept: an operator has to act."""


class TooManyHashes(Exception):
    """As many comparisons wait as may: say nothing, the client comes again."""


class PasswordCheck:
    """passwords: reads what is kept; monotonic_s: a clock"""

    def __init__(self, passwords: StoredPasswords, monotonic_s: Callable[[], float]) -> None:
        self._passwords, self._monotonic_s = passwords, monotonic_s
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._slots = asyncio.Semaphore(max(1, (os.cpu_count() or 1) - 1))
        self._waiting = 0

    async def check(
        self, packet: Packet, method: LoginMethod, secret: bytes, subscriber: str, stored: str
    ) -> LoginVerdict:
        """
        method:  one that proves a password
        secret:  of the client
        stored:  the password as it is kept
        Raises HashedOnly, TooManyHashes, CannotOpen, and RadiusError for attributes of impossible length.
        """
        randomness = secrets.token_bytes(RANDOM_BYTES)
        if stored.partition("$")[0] != HASHED:
            password = self._passwords.clear(stored, subscriber)
            assert password is not None
            return judge_password(packet, method, secret, password, randomness)
        if method in CHALLENGED:
            raise HashedOnly
        typed = typed_password(packet, secret)
        return LoginVerdict(typed is not None and await self._is_hashed(subscriber, stored, typed))

    def refusal(self, packet: Packet, method: LoginMethod) -> bytes:
        """What a Reject carries because of the method when nobody looked at the password."""
        return refusal_of(packet, method, secrets.token_bytes(RANDOM_BYTES), WRONG_PASSWORD)

    async def _is_hashed(self, subscriber: str, stored: str, typed: str) -> bool:
        digest = hmac.digest(self._key, "\0".join((subscriber, stored, typed)).encode(), hashlib.sha256)
        now_s = self._monotonic_s()
        if now_s < self._right.get(digest, 0.0):
            self._right.move_to_end(digest)
            return True
        if self._waiting >= WAITING_MAX:
            raise TooManyHashes
        self._waiting += 1
        try:
            async with self._slots:
                is_right = await asyncio.to_thread(self._passwords.matches, stored, subscriber, typed)
        finally:
            self._waiting -= 1
        if is_right:
            self._right[digest] = now_s + REMEMBERED_S
            self._right.move_to_end(digest)
            if len(self._right) > REMEMBERED_MAX:
                self._right.popitem(last=False)
        return is_right
