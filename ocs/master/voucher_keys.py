"""The keys of vouchers, which are not in the database: a copy of it cashes nothing.

A code is stored as its HMAC-SHA-256. Until codes are exported they are sealed under the same keys.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

import msgspec

from ocs.config.tree import Config
from ocs.config.values import Secret, key_of
from ocs.master.sealing import Sealing, key_in

KEY_FILE: Final = "voucher.key"


class VoucherKeys:
    """keys: 32 octets each. Codes are stored under the first; each of them finds."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = [hmac.digest(key, b"ocs voucher codes", hashlib.sha256) for key in keys]
        self.sealing = Sealing(hmac.digest(key, b"ocs voucher export", hashlib.sha256) for key in keys)

    def digest(self, code: str) -> bytes:
        return hmac.digest(self._keys[0], code.encode(), hashlib.sha256)

    def digests(self, code: str) -> list[bytes]:
        return [hmac.digest(key, code.encode(), hashlib.sha256) for key in self._keys]


def voucher_keys_of(config: Config) -> VoucherKeys | None:
    """Those of the configuration; None: no vouchers are served."""
    keys = [key_of(one.reveal()) for one in config.vouchers.keys]
    return VoucherKeys(keys) if keys else None


def with_voucher_key(config: Config) -> Config:
    """The configuration as other processes get it: with a key in the data directory, which the first start makes, where
    none is configured and PostgreSQL is ours alone."""
    if config.vouchers.keys or not config.postgres.embedded:
        return config
    key = Secret(key_in(config.data, KEY_FILE).hex())
    return msgspec.structs.replace(config, vouchers=msgspec.structs.replace(config.vouchers, keys=(key,)))
