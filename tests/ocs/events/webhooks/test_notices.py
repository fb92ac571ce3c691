"""The example of docs/notices.md, as a process, told by real deliveries."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
import sys
import time
from pathlib import Path

import httpx

from tests.ocs.events.webhooks.world import a_world
from tests.servers import ROOT, Servers

SCRIPT = ROOT / "docs/examples/notices.py"
CONTACTS = """
[default]
language = "en"
[accounts.a1]
to = "+491700000001"
language = "de"
[accounts.a2]
to = "+491700000002"
by = "mail"
"""


class Notices:
    """The script with a secret; `line()` is the next notice."""

    def __init__(self, folder: Path, secret: str) -> None:
        self._folder, self._secret = folder, secret
        self.url = ""

    async def __aenter__(self) -> Notices:
        contacts = self._folder / "contacts.toml"
        contacts.write_text(CONTACTS)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, str(SCRIPT), "--port", "0", "--contacts", str(contacts), "--seen",
            str(self._folder / "seen"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "OCS_WEBHOOK_SECRET": self._secret, "PYTHONIOENCODING": "utf-8"},
        )  # fmt: skip
        assert self._process.stderr is not None
        said = (await asyncio.wait_for(self._process.stderr.readline(), 30)).decode()
        found = re.search(r"http://\S+", said)
        assert found, said
        self.url = found[0]
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._process.kill()
        await self._process.communicate()

    async def line(self) -> str:
        assert self._process.stdout is not None
        return (await asyncio.wait_for(self._process.stdout.readline(), 30)).decode().rstrip()


async def test_subscribers_are_told_in_their_language(servers: Servers, tmp_path: Path) -> None:
    async with a_world(servers) as world:
        made = await world.webhook("http://127.0.0.1:9/", types=["top_up.*", "account.*"])
        async with Notices(tmp_path, made["secret"]) as notices:
            moved = await world.harness.call(
                "PATCH", f"/v1/webhooks/{made['id']}", {"url": notices.url}, if_match=f'"{made["version"]}"'
            )
            assert moved.status_code == 200, moved.text
            await world.harness.top_up("5.00", "a1")
            assert await notices.line() == (
                "sms to +491700000001: Danke. Wir haben 5,00 EUR erhalten, Ihr Guthaben beträgt 5,00 EUR."
            )
            await world.harness.top_up("2.50", "a3")  # nobody knows how to reach a3
            await world.harness.top_up("2.50", "a2")
            assert await notices.line() == (
                "mail to +491700000002: Thank you. We received 2.50 EUR; your balance is 2.50 EUR."
            )
            suspended = await world.harness.call(
                "PUT",
                "/v1/accounts/a2",
                {"currency": "EUR", "state": "suspended", "suspend_for": "operator"},
                if_match="*",
            )
            assert suspended.status_code == 200, suspended.text
            assert await notices.line() == "mail to +491700000002: Your credit is used up. Top up to go on."


async def test_what_is_not_signed_is_refused_and_what_was_told_is_not_told_again(tmp_path: Path) -> None:
    secret = "whsec_" + base64.b64encode(bytes(32)).decode()
    event = {
        "id": "e1",
        "type": "top_up.received",
        "account": "a2",
        "data": {"currency": "EUR", "buckets": [{"kind": "octets", "amount": "5000000", "after": "9000000"}]},
    }
    body = json.dumps(event).encode()

    def headers(at_s: int, key: bytes = bytes(32), id_: str = "e1") -> dict[str, str]:
        signature = base64.b64encode(hmac.digest(key, f"{id_}.{at_s}.".encode() + body, hashlib.sha256)).decode()
        return {"webhook-id": id_, "webhook-timestamp": str(at_s), "webhook-signature": f"v1,x v1,{signature}"}

    now_s = int(time.time())
    async with Notices(tmp_path, secret) as notices, httpx.AsyncClient() as client:
        for wrong in (
            {},
            headers(now_s, b"another"),
            headers(now_s - 3_600),
            {**headers(now_s), "webhook-id": "e2"},
            {**headers(now_s), "webhook-timestamp": "soon"},
        ):
            assert (await client.post(notices.url, content=body, headers=wrong)).status_code == 401
        for _ in range(2):
            assert (await client.post(notices.url, content=body, headers=headers(now_s))).status_code == 204
        event["id"] = "e2"
        body = json.dumps(event).encode()
        assert (await client.post(notices.url, content=body, headers=headers(now_s))).status_code == 204
        expected = "mail to +491700000002: Thank you. We received 5 MB; your balance is 9 MB."
        assert [await notices.line(), await notices.line()] == [expected, expected], "once for each event"
