"""Webhooks over HTTP and the command line: what is taken, what is refused, and that a secret is shown once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ocs.config.events import Webhooks
from ocs.events.webhooks.sealed_secrets import WebhookSecrets
from tests.ocs.api_harness import ApiHarness

URL = "https://hooks.example.net/ocs"


async def create(harness: ApiHarness, **more: Any) -> Any:
    return await harness.call("POST", "/v1/webhooks", {"url": URL, **more})


async def test_a_secret_is_shown_once_and_never_kept_as_it_is(harness: ApiHarness) -> None:
    made = await create(harness, id="crm", types=["account.*"], accounts=["a1"], description="customers")
    assert made.status_code == 201, made.text
    secret = made.json()["secret"]
    assert secret.startswith("whsec_")
    for answer in (
        await harness.call("GET", "/v1/webhooks/crm"),
        await harness.call("GET", "/v1/webhooks"),
        await harness.call("PATCH", "/v1/webhooks/crm", {"description": "x"}, if_match="*"),
        await harness.call("POST", "/v1/webhooks/crm/pause"),
    ):
        assert answer.status_code == 200, answer.text
        assert "whsec_" not in answer.text
    rotated = (await harness.call("POST", "/v1/webhooks/crm/rotate-secret", {"overlap_s": 60})).json()
    assert rotated["secret"] not in (None, secret)
    assert rotated["old_secret_until"]
    kept = await harness.pool.fetchrow("SELECT secret, old_secret FROM webhooks")
    assert all(one.startswith("sealed$") for one in kept)


async def test_what_is_changed_by_whom_saw_it(harness: ApiHarness) -> None:
    made = await create(harness, id="crm")
    assert made.headers["etag"] == '"1"'
    path, body = "/v1/webhooks/crm", {"types": ["top_up.received"], "url": "https://other.example.net/"}
    assert (await harness.call("PATCH", path, body)).status_code == 428
    changed = await harness.call("PATCH", path, body, if_match='"1"')
    assert (changed.json()["types"], changed.json()["url"]) == (["top_up.received"], "https://other.example.net/")
    assert (await harness.call("PATCH", path, body, if_match='"1"')).status_code == 412
    assert (await harness.call("DELETE", path, if_match='"1"')).status_code == 412
    assert (await harness.call("DELETE", path, if_match=changed.headers["etag"])).status_code == 204
    assert (await harness.call("GET", path)).status_code == 404
    assert await harness.pool.fetchval("SELECT count(*) FROM event_consumers") == 0


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        pytest.param({"url": "http://hooks.example.net/"}, 422, "webhooks.allow_http", id="http"),
        pytest.param({"url": "https://10.0.0.1/"}, 422, "webhooks.allow_private", id="private"),
        pytest.param({"url": "https://me:pw@hooks.example.net/"}, 422, "signature", id="password"),
        pytest.param({"types": ["account.suspendet"]}, 422, "no type of event is called account.suspendet", id="type"),
        pytest.param({"types": ["*"]}, 422, "a type of event such as", id="any type"),
        pytest.param({"services": ["vioce"]}, 422, "there is no service vioce", id="service"),
        pytest.param({"accounts": ["a b"]}, 422, "an id of 1 to 64", id="account"),
        pytest.param({"after": "1-2-3-top_up.received"}, 422, "no event 1-2-3-top_up.received is kept", id="after"),
        pytest.param({"secret": "whsec_mine"}, 422, "secret", id="a secret"),
        pytest.param({"id": "taken"}, 409, "there is a webhook taken already", id="taken"),
    ],
)
async def test_refusals(harness: ApiHarness, body: dict[str, Any], status: int, says: str) -> None:
    assert (await create(harness, id="taken")).status_code == 201
    refused = await create(harness, **body)
    assert (refused.status_code, says in refused.json()["detail"]) == (status, True), refused.text


async def test_no_more_than_configured(harness: ApiHarness) -> None:
    harness.backoffice.webhooks = Webhooks(webhooks_max=1)
    assert (await create(harness)).status_code == 201
    assert (await create(harness)).status_code == 409


async def test_without_a_key_no_secret_can_be_kept(harness: ApiHarness) -> None:
    harness.backoffice.secrets = WebhookSecrets(None)
    refused = await create(harness)
    assert (refused.status_code, "sealing_keys" in refused.text) == (409, True)


async def test_what_is_not_there(harness: ApiHarness) -> None:
    await create(harness, id="crm")
    for method, path in (
        ("GET", "/v1/webhooks/x"),
        ("POST", "/v1/webhooks/x/pause"),
        ("POST", "/v1/webhooks/x/resume"),
        ("POST", "/v1/webhooks/x/test"),
        ("GET", "/v1/webhooks/x/deliveries"),
        ("POST", "/v1/webhooks/x/deliveries/retry"),
        ("GET", "/v1/webhooks/crm/deliveries/e1"),
        ("POST", "/v1/webhooks/crm/deliveries/e1/retry"),
    ):
        assert (await harness.call(method, path)).status_code == 404, path


async def test_a_test_waits_and_is_listed_by_pages(harness: ApiHarness) -> None:
    await create(harness, id="crm")
    sent = [(await harness.call("POST", "/v1/webhooks/crm/test")).json()["event"] for _ in range(3)]
    page = (await harness.call("GET", "/v1/webhooks/crm/deliveries?state=waiting&limit=2")).json()
    assert [one["event"] for one in page["items"]] == sent[:2]
    rest = (await harness.call("GET", f"/v1/webhooks/crm/deliveries?after={page['next']}")).json()
    assert [one["event"] for one in rest["items"]] == sent[2:]
    body = await harness.pool.fetchval("SELECT body FROM webhook_deliveries WHERE event = $1", sent[0])
    assert json.loads(body)["type"] == "webhook.test"
    assert (await harness.call("GET", "/v1/webhooks/crm")).json()["waiting"] == 3
