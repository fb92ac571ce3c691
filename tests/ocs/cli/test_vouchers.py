"""`ocs voucher ...` against a server that listens."""

import json
from pathlib import Path

from tests.ocs.api_harness import ApiHarness
from tests.ocs.cli.conftest import Run


async def test_from_the_batch_to_the_balance(ocs: Run, harness: ApiHarness, tmp_path: Path) -> None:
    await harness.account()
    await harness.subscriber("s1", "a1", "msisdn:491700000001", tariffs=[])
    made = await ocs("voucher", "make", "b1", "--count", "3", "--amount", "10.00", "--currency", "EUR")
    assert made.exit_code == 0, made.output
    exported = await ocs("voucher", "export", "b1")
    codes = [json.loads(line)["code"] for line in exported.stdout.splitlines()]
    assert len(codes) == 3
    assert (await ocs("voucher", "export", "b1")).exit_code == 1
    early = await ocs("voucher", "redeem", codes[0], "--account", "a1")
    assert early.exit_code == 1
    assert "has not been activated" in early.output
    assert (await ocs("voucher", "activate", "b1")).exit_code == 0
    done = await ocs("voucher", "redeem", codes[0], "--identity", "msisdn:491700000001", "--key", "k1")
    assert "balance 10.00" in done.stdout, done.output
    assert (
        "10.00" in (await ocs("voucher", "redeem", codes[0], "--identity", "msisdn:491700000001", "--key", "k1")).stdout
    )
    assert (await ocs("voucher", "block", "b1", "2")).exit_code == 0
    assert (await ocs("voucher", "redeem", codes[1], "--subscriber", "s1")).exit_code == 1
    assert (await ocs("voucher", "unblock", "b1", "2")).exit_code == 0
    assert "active" in (await ocs("voucher", "find", codes[1])).stdout
    assert "20.00" in (await ocs("voucher", "list")).stdout
    assert json.loads((await ocs("voucher", "show", "b1", "--json")).stdout)["redeemed"] == 1
    assert "redeemed" in (await ocs("voucher", "show", "b1", "1")).stdout
    again = await ocs("voucher", "redeem", codes[0], "--account", "a1")
    assert "the voucher was redeemed before" in again.output
    late = ("--count", "1", "--amount", "1", "--currency", "EUR", "--expires", "2020-01-01T00:00:00Z")
    assert "expires: in the future" in (await ocs("voucher", "make", "late", *late)).output
    nowhere = await ocs("voucher", "import", "old", "no-such-file")
    assert (nowhere.exit_code, "No such file" in nowhere.output) == (2, True)
    (tmp_path / "odd").write_bytes(b"\xff\xfe")
    assert "expected text" in (await ocs("voucher", "import", "old", "odd")).output
    (tmp_path / "codes").write_text("1234-5678\n\nABCDEF99\n")
    await ocs("voucher", "make", "old", "--codes", "imported", "--amount", "5", "--currency", "EUR")
    assert "2 vouchers, 0 were" in (await ocs("voucher", "import", "old", "codes")).stdout
    assert "2 vouchers, 2 were" in (await ocs("voucher", "import", "old", "codes")).stdout
    assert (await ocs("voucher", "block", "old")).exit_code == 0
