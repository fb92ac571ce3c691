"""The price that a bucket of units may have of its own (charging.md section 22)."""

from __future__ import annotations

from ocs.backoffice.errors import Invalid
from tariffs import bucket_price


def reduced(price: int, per: int, field: str = "per") -> tuple[int, int]:
    """As tariffs/bucket_price.py has it; Invalid where it cannot be charged exactly."""
    try:
        return bucket_price.reduced(price, per)
    except ValueError as bad:
        raise Invalid(field, str(bad).removeprefix("expected ")) from None
