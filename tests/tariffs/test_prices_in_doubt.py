"""Where the code and the specification do not agree, made small. test_edges_of_prices.py has what is mended.

Each is expected to fail; strict, so that whoever mends it finds the mark and takes it away.
"""

from __future__ import annotations

import pytest

from tests.tariffs.customers import Customer
from tests.tariffs.oracle_account import OracleAccount, OracleBucket, OraclePiece

WRONG = pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="the code differs from the specification; see the docstring"
)


@WRONG
def test_who_pays_a_block_does_not_depend_on_the_cut() -> None:
    """ "`split = false`: each block is paid by one", in the order of the buckets. The minimum of 0.10 is more than the
    bonus has; the third message, of 0.05, the bonus can pay. It does in a report of its own, not in one with others."""
    customer = Customer(
        """
        [[rows]]
        flat = { price = "0.05", per = "1 message", split = false }
        minimum = { charge = "0.10" }
        """,
        "sms",
    )
    left = []
    for pieces in ([OraclePiece(0, 1), OraclePiece(0, 1), OraclePiece(0, 1)], [OraclePiece(0, 3)]):
        harness = customer.harness({})
        harness.account = OracleAccount("EUR", [OracleBucket("money", 90_000), OracleBucket("money", 1_000_000)])
        assert harness.use(pieces) == 150_000
        left.append(harness.account.balances())
    assert left == [[40_000, 900_000]] * 2
