"""`ocs radius ...` against a server that listens."""

from __future__ import annotations

from ocs.charging.radius.habits import KEPT_MIN
from tests.ocs.api.test_radius_clients import seen
from tests.ocs.api.test_radius_homes import told
from tests.ocs.api_harness import ApiHarness
from tests.ocs.cli.conftest import Run


async def test_home_servers_are_listed(ocs: Run, harness: ApiHarness) -> None:
    await told(harness)
    table = (await ocs("radius", "homes")).stdout
    for text in ("127.0.0.1:1812", "127.0.0.2:1812", "dead: 1", "up: 2"):
        assert text in table


async def test_clients_are_listed_and_reset(ocs: Run, harness: ApiHarness) -> None:
    await seen(harness, {"10.0.0.1": (KEPT_MIN, 0), "10.0.0.2": (0, 2)})
    table = (await ocs("radius", "clients")).stdout
    for text in ("10.0.0.0/8", "10.0.0.1", "10.0.0.2", "bras", "require", "learn", "authenticator: 1"):
        assert text in table
    assert "10.0.0.1: forgotten" in (await ocs("radius", "reset", "10.0.0.1")).stdout
    refused = await ocs("radius", "reset", "10.9.9.9")
    assert refused.exit_code == 1
    assert "10.9.9.9" in refused.stderr
