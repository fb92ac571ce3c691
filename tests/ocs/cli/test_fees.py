"""`ocs fees ...` against a server that listens."""

import pytest

from balances.structs.posting import Fee, FeeStep, FeeUnits
from tariffs.units import MICRO, Kind
from tests.ocs.api_harness import ApiHarness
from tests.ocs.cli.conftest import Run


@pytest.mark.parametrize(("words", "amount"), [((), "-3.00"), (("--units",), "500")], ids=["money", "units"])
async def test_what_fees_took(ocs: Run, harness: ApiHarness, words: tuple[str, ...], amount: str) -> None:
    await harness.account()
    await harness.top_up("10.00")
    fee = Fee(
        account="a1",
        key="k",
        fingerprint="",
        actor="fees",
        reason="",
        reference="plan@1:base",
        now_ms=harness.now_ms(),
        remember_ms=1_000,
        chain="chain",
        subscriber="s1",
        step=FeeStep.TAKE,
        from_day=0,
        until_day=31,
        amount=3 * MICRO,
        units=[FeeUnits("sms", Kind.UNITS, 500)],
    )
    await harness.store.fee(fee).wait()
    await harness.sync()
    found = await ocs("fees", "history", "a1", *words)
    assert (found.exit_code, amount in found.stdout, "plan@1:base" in found.stdout) == (0, True, True), found.output
