"""One attempt, against receivers that do whatever they like."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpcore
import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from ocs.config.values import networks
from ocs.events.webhooks import client as client_module
from ocs.events.webhooks.addresses import refused_address, refused_url
from ocs.events.webhooks.client import Attempt, WebhookClient, tls_context
from ocs.events.webhooks.signing import key_of, new_secret, signature, signed_headers
from tests.ocs.events.webhooks.receiver import OK, Answer, cut, dripping, endless, receiving, stalling, status


@contextlib.asynccontextmanager
async def a_client(*allowed: str, timeout_s: float = 30) -> AsyncIterator[WebhookClient]:
    made = WebhookClient(tls_context(), allowed=networks(allowed), timeout_s=timeout_s, connections_max=4)
    try:
        yield made
    finally:
        await made.close()


async def attempt(url: str, timeout_s: float = 30) -> Attempt:
    async with a_client("127.0.0.0/8", timeout_s=timeout_s) as client:
        return await client.deliver(url, signed("e1"), b'{"id":"e1"}')


def signed(event: str, *secrets: str) -> dict[str, str]:
    return signed_headers(secrets or (new_secret(),), event, int(time.time()), b'{"id":"e1"}')


# --- signatures


def test_a_signature_is_the_one_of_standard_webhooks() -> None:
    """The worked example of its specification."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_a_secret_is_32_octets_and_never_the_same() -> None:
    assert len(key_of(new_secret())) == 32
    assert new_secret() != new_secret()
    assert base64.b64encode(key_of("whsec_AAECAw==")) == b"AAECAw=="
    with pytest.raises(ValueError, match="whsec_"):
        key_of("secret")


def test_while_a_secret_is_replaced_either_is_enough() -> None:
    new, old, other = new_secret(), new_secret(), new_secret()
    headers = signed("e1", new, old)
    assert len(headers["webhook-signature"].split()) == 2
    for secret in (new, old):
        assert Verifier(secret).verify(b'{"id":"e1"}', headers) == {"id": "e1"}
    with pytest.raises(WebhookVerificationError):
        Verifier(other).verify(b'{"id":"e1"}', headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(new).verify(b'{"id":"e2"}', headers)


# --- what a receiver does


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(OK, Attempt("delivered", "204", 204), id="204"),
        pytest.param(status(200, body=b"x" * 5_000_000), Attempt("delivered", "200", 200), id="a long body"),
        pytest.param(endless, Attempt("delivered", "200", 200), id="an endless body"),
        pytest.param(status(500, body=b"no\n\x1b[31m luck"), Attempt("refused", "500: no [31m luck", 500), id="500"),
        pytest.param(status(410), Attempt("refused", "410", 410), id="410"),
        pytest.param(status(429, "retry-after: 7"), Attempt("refused", "429", 429, 7), id="429"),
        pytest.param(status(503, "Retry-After: 99999999"), Attempt("refused", "503", 503, 3_600), id="503"),
        pytest.param(status(503, "retry-after: tomorrow"), Attempt("refused", "503", 503), id="a date"),
        pytest.param(
            status(301, "location: http://127.0.0.1:1/other"),
            Attempt("refused", "301: redirects are not followed", 301),
            id="301",
        ),
    ],
)
async def test_the_status_decides(answer: Answer, expected: Attempt) -> None:
    async with receiving() as receiver:
        receiver.answer = lambda _got: answer
        assert await attempt(receiver.url) == expected
        assert len(receiver.tried) == 1


@pytest.mark.parametrize("answer", [pytest.param(stalling, id="stalls"), pytest.param(dripping, id="endless head")])
async def test_an_attempt_takes_no_longer_than_it_may(answer: Answer) -> None:
    async with receiving() as receiver:
        receiver.answer = lambda _got: answer
        assert (await attempt(receiver.url, timeout_s=0.5)).result == "silent"


async def test_no_answer_is_no_exception() -> None:
    async with receiving() as receiver:
        receiver.answer = lambda _got: cut
        assert (await attempt(receiver.url)).result == "silent"
        url = receiver.url
    port = urlsplit(url).port
    assert await attempt(url) == Attempt("silent", f"127.0.0.1 port {port}: Connection refused")
    assert (await attempt("http://no-such-host.invalid/")).result == "silent"
    assert (await attempt(url.replace("http", "https"))).result == "silent"


async def test_a_connection_is_used_again_and_one_with_too_much_to_say_is_not() -> None:
    async with receiving() as receiver, a_client("127.0.0.0/8") as client:
        for _ in range(3):
            assert (await client.deliver(receiver.url, signed("e1"), b'{"id":"e1"}')).result == "delivered"
        assert receiver.open == 1
        receiver.answer = lambda _got: endless
        assert (await client.deliver(receiver.url, signed("e1"), b'{"id":"e1"}')).result == "delivered"
        async with asyncio.timeout(30):
            while receiver.open:
                await asyncio.sleep(0.01)


def test_authorities_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no PEM")
    for name in ("no.pem", "nothing.pem"):
        with pytest.raises(ValueError, match=r"webhooks\.tls_ca: .*expected a readable PEM file"):
            tls_context(str(tmp_path / name))


# --- where nothing is delivered to

FORBIDDEN = {
    "loopback": "127.0.0.1",
    "loopback elsewhere": "127.8.8.8",
    "unspecified": "0.0.0.0",
    "this network": "0.1.2.3",
    "private 10": "10.0.0.1",
    "private 172": "172.16.0.1",
    "private 192": "192.168.1.1",
    "link-local, metadata": "169.254.169.254",
    "carrier's NAT, metadata": "100.100.100.200",
    "platform of a cloud": "168.63.129.16",
    "metadata of a cloud": "192.0.0.192",
    "documentation": "192.0.2.1",
    "benchmarks": "198.18.0.1",
    "multicast": "224.0.0.1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "loopback v6": "::1",
    "unspecified v6": "::",
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped public": "::ffff:8.8.8.8",
    "compatible": "::127.0.0.1",
    "NAT64": "64:ff9b::7f00:1",
    "local NAT64": "64:ff9b:1::7f00:1",
    "6to4": "2002:7f00:1::",
    "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "link-local v6": "fe80::1",
    "link-local v6 with its zone": "fe80::1%lo",
    "site-local": "fec0::1",
    "unique local": "fd12:3456::1",
    "metadata v6": "fd00:ec2::254",
    "multicast v6": "ff02::1",
    "documentation v6": "2001:db8::1",
    "no address": "localhost",
}


@pytest.mark.parametrize("address", [pytest.param(address, id=name) for name, address in FORBIDDEN.items()])
def test_what_is_not_public_is_refused(address: str) -> None:
    assert refused_address(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2600:1f18::1", "2a00:1450:4001::1"])
def test_what_is_public_is_not(address: str) -> None:
    assert refused_address(address) == ""


def test_what_is_configured_is_not_refused() -> None:
    allowed = networks(("10.1.0.0/16", "::1"))
    assert [refused_address(one, allowed) == "" for one in ("10.1.2.3", "::1", "10.2.0.1", "::ffff:10.1.2.3")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "127.1",
        "0",
        "[::]",
        "169.254.169.254",
    ],
)
async def test_no_spelling_of_an_address_gets_through(host: str) -> None:
    async with receiving() as receiver, a_client() as client:
        found = await client.deliver(f"http://{host}:{receiver.port}/", signed("e1"), b'{"id":"e1"}')
        assert found.result == "forbidden", found
        assert "webhooks.allow_private" in found.text
        assert receiver.tried == []


async def test_a_name_that_means_another_address_a_moment_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: what was checked is what is connected to, whatever the name says then."""
    async with receiving() as receiver, a_client() as client:
        answers = iter([["93.184.216.34"], ["127.0.0.1"]])
        asked: list[str] = []
        connected: list[str] = []

        def addresses(host: str, _port: int) -> list[str]:
            asked.append(host)
            return next(answers, ["127.0.0.1"])

        class Inner(httpcore.AnyIOBackend):
            async def connect_tcp(self, host: str, *args: Any, **more: Any) -> Any:
                connected.append(host)
                raise httpcore.ConnectError("not in a test")

        monkeypatch.setattr(client_module, "_addresses", addresses)
        monkeypatch.setattr(httpcore, "AnyIOBackend", Inner)
        async with a_client() as fresh:
            url = f"http://rebinding.example:{receiver.port}/"
            assert (await fresh.deliver(url, signed("e1"), b'{"id":"e1"}')).result == "silent"
            assert (await fresh.deliver(url, signed("e1"), b'{"id":"e1"}')).result == "forbidden"
        assert asked == ["rebinding.example"] * 2
        assert connected == ["93.184.216.34"]
        assert receiver.tried == []
        await client.close()


async def test_of_several_addresses_the_public_ones_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_addresses", lambda _host, _port: ["10.0.0.1", "127.0.0.1", "::1"])
    async with receiving() as receiver, a_client("127.0.0.1") as client:
        found = await client.deliver(f"http://several.example:{receiver.port}/", signed("e1"), b'{"id":"e1"}')
        assert found.result == "delivered"


@pytest.mark.parametrize(
    ("url", "allow_http", "says"),
    [
        ("https://hooks.example.net/x?y=1", False, ""),
        ("https://hooks.example.net:8443", False, ""),
        ("http://hooks.example.net/", False, "allow_http"),
        ("http://hooks.example.net/", True, ""),
        ("ftp://hooks.example.net/", True, "https://"),
        ("hooks.example.net", True, "https://"),
        ("https://", True, "a host"),
        ("https://user:secret@hooks.example.net/", True, "signature"),
        ("https://hooks.example.net/#x", True, "#"),
        ("https://hooks.example.net:0/", True, "port"),
        ("https://hooks.example.net:99999/", True, "URL"),
        ("https://127.0.0.1/", True, "allow_private"),
        ("https://[::ffff:10.0.0.1]/", True, "allow_private"),
        ("https://[fe80::1%25eth0]/", True, "allow_private"),
        ("https://does-not-exist.invalid/", False, ""),
        ("https://hooks.example.net/a b", True, "ASCII"),
        ("https://hooks.exämple.net/", True, "ASCII"),
        ("https://hooks.example.net\\@127.0.0.1/", True, "ASCII"),
        ("https://[::1/", True, "URL"),
        ("https://hooks.example.net/" + "x" * 2_048, True, "ASCII"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_urls(url: str, allow_http: bool, says: str) -> None:
    """A name is not looked up: it may be known later only."""
    why = refused_url(url, allow_http=allow_http)
    assert says in why
    assert bool(why) == bool(says)
