"""A client that a generator made of /openapi.json, against a server that listens: what its types say is what is sent
and what comes."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ocs.api_harness import TOKEN

OTHER_MEDIA = {
    "/v1/import",
    "/v1/tariffs/{id}",
    "/v1/tariff-files/{name}",
    "/v1/voucher-batches/{id}/export",
}
"""Texts in TOML, CSV and lines of JSON are what it does not send; most of these take JSON too."""
GENERATED = "generated_ocs_client"


class GeneratedClient:
    """`call(group, operation, ...)` is the operation's function; `models` has the types."""

    def __init__(self, address: str) -> None:
        client = importlib.import_module(f"{GENERATED}.client")
        self._client: Any = client.AuthenticatedClient(
            base_url=address, token=TOKEN, raise_on_unexpected_status=True, timeout=httpx.Timeout(60)
        )
        self.models: Any = importlib.import_module(f"{GENERATED}.models")

    def call(self, group: str, operation: str, *path: str, **arguments: Any) -> Any:
        module = importlib.import_module(f"{GENERATED}.api.{group}.{operation}")
        return module.sync(*path, client=self._client, **arguments)

    def close(self) -> None:
        self._client.get_httpx_client().close()


@pytest.fixture
def client(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GeneratedClient]:
    written = tmp_path / "openapi.json"
    written.write_bytes(httpx.get(f"{address}/openapi.json").content)
    command = ["-m", "openapi_python_client", "generate", "--path", str(written), "--meta", "none"]
    made = subprocess.run(
        [sys.executable, *command, "--output-path", str(tmp_path / GENERATED)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": str(Path(sys.executable).parent), "HOME": str(tmp_path)},
    )
    assert made.returncode == 0, made.stdout + made.stderr
    doubtful = {line.split()[3] for line in made.stdout.splitlines() if line.startswith("WARNING parsing")}
    assert doubtful <= OTHER_MEDIA, made.stdout
    monkeypatch.syspath_prepend(str(tmp_path))
    found = GeneratedClient(address)
    yield found
    found.close()
    for name in [name for name in sys.modules if name.partition(".")[0] == GENERATED]:
        del sys.modules[name]


def test_it_tops_up_transfers_searches_and_lists_buckets(client: GeneratedClient) -> None:
    models = client.models
    topped = client.call(
        "accounts", "top_up", "a1", body=models.TopUp(amount="5.00", reference="c"), idempotency_key="k1"
    )
    assert (topped.balance, topped.entries[0].counter_account) == ("25.00", "top-up")

    order = models.TransferOrder(from_="a1", to="A", amount="3.00", reason="gift")
    sent = client.call("transfers", "send", body=order, idempotency_key="k2")
    assert (sent.from_, sent.to, sent.amount, sent.currency) == ("a1", "A", "3.00", "EUR")

    found = client.call("search", "search_for", q="a1")
    assert [one.id for one in found.accounts] == ["a1"]
    assert [one.identities for one in found.subscribers] == [["username:a1"]]

    buckets = client.call("tmf654", "tmf_list_buckets", party_account_id="a1")
    assert [(one.id, one.usage_type, Decimal(str(one.remaining_value.amount))) for one in buckets] == [
        ("a1:0", "monetary", Decimal("22.00"))
    ]

    wish = models.TmfTopupBalanceCreate(
        amount=models.TmfAmount(amount=1.5, units="EUR"),
        usage_type=models.TmfTopupBalanceCreateUsageType.MONETARY,
        bucket=models.TmfRef(id="a1:0"),
        party_account=models.TmfRef(id="a1"),
    )
    action = client.call("tmf654", "tmf_top_up", body=wish)
    assert (action.id, action.status, action.amount.units) == ("a1:4", "completed", "EUR")

    refused = client.call("accounts", "get_account", "none")
    assert (type(refused).__name__, refused.status) == ("ProblemDetails", 404)
