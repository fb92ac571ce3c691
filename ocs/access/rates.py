"""How many requests a second each caller may make: a bucket of tokens for each, full at first."""

from __future__ import annotations

from collections import OrderedDict

CALLERS_MAX = 10_000


class RequestRates:
    """Asked for each request, with the time of a clock that never goes back."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, caller: str, rate: int, now_s: float) -> float:
        """0 where this request is within the rate (a second's worth at once), else how long until the next one is."""
        left, then_s = self._left.get(caller, (float(rate), now_s))
        left = min(float(rate), left + (now_s - then_s) * rate)
        taken = left >= 1.0
        self._left[caller] = (left - taken, now_s)
        self._left.move_to_end(caller)
        if len(self._left) > CALLERS_MAX:
            self._left.popitem(last=False)
        return 0.0 if taken else (1.0 - left) / rate
