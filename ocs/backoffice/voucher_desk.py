"""What vouchers need besides the stores: their keys, the rules of the lock-out, counts."""

from __future__ import annotations

from ocs.backoffice.errors import Unavailable
from ocs.config.backoffice import VoucherRules
from ocs.master.voucher_keys import VoucherKeys
from ocs.telemetry import metrics
from ocs.telemetry.metrics import Meter


class VoucherDesk:
    """keys: None: no key is configured, so there are no vouchers"""

    def __init__(self, keys: VoucherKeys | None, rules: VoucherRules, meter: Meter) -> None:
        self._keys, self.rules = keys, rules
        self.tries = meter.counts(metrics.VOUCHER_TRIES)

    @property
    def keys(self) -> VoucherKeys:
        if self._keys is None:
            raise Unavailable("vouchers need a key outside the database: configure `vouchers.keys`")
        return self._keys
