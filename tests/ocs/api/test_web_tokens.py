"""Tokens of an identity provider, and how many requests a second a caller may make."""

import time
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from ocs.access.rates import RequestRates
from ocs.access.roles import SHIPPED, CallerRole
from ocs.access.web_tokens import AGAIN_MS, KEPT_MS, RefusedWebToken, WebTokenRules, WebTokens
from ocs.api.auth import Callers
from ocs.api.server import application
from ocs.config.access import Access
from ocs.config.http import Http
from tests.ocs.api_harness import TOKEN, ApiHarness

RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


class Provider:
    """Its keys are a file; it signs what it is asked to."""

    def __init__(self, folder: Path, **rules: Any) -> None:
        self.file, self.now_ms = folder / "jwks.json", time.time_ns() // 1_000_000
        self.publish(rsa=RSA)
        more = {"issuer": "https://id.example.net", "audience": "ocs", "algorithms": ("RS256", "ES256")} | rules
        self.verifier = WebTokens(WebTokenRules(jwks=str(self.file), **more), SHIPPED, lambda: self.now_ms)

    def publish(self, **keys: Any) -> None:
        made = []
        for name, key in keys.items():
            algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
            made.append({**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": name, "use": "sig"})
        self.file.write_bytes(msgspec.json.encode({"keys": made}))

    def token(self, key: Any = RSA, kid: str = "rsa", algorithm: str = "RS256", **claims: Any) -> str:
        now_s = self.now_ms // 1_000
        body = {"iss": "https://id.example.net", "aud": "ocs", "sub": "anna", "exp": now_s + 60, "roles": ["care"]}
        return jwt.encode({name: value for name, value in (body | claims).items() if value is not None}, key,
                          algorithm=algorithm, headers={"kid": kid})  # fmt: skip


async def test_a_caller_and_his_roles(tmp_path: Path) -> None:
    provider = Provider(tmp_path)
    found = await provider.verifier.authority(provider.token(), "10.0.0.1")
    assert (found.caller, list(found.roles), found.address, found.credential) == ("anna", ["care"], "10.0.0.1", "jwt")
    assert found.may("accounts.refund")
    assert not (await provider.verifier.authority(provider.token(roles=["boss", 7]), "")).permissions
    nested = Provider(tmp_path, roles_claim="realm.roles", roles={"desk": "cashier"}, caller_claim="email")
    token = nested.token(realm={"roles": ["desk", "admin"]}, email="anna@example.net")
    found = await nested.verifier.authority(token, "")
    assert (found.caller, list(found.roles)) == ("anna@example.net", ["cashier"])


NOW_S = time.time_ns() // 1_000_000_000


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW_S - 31},
        {"exp": None},
        {"nbf": NOW_S + 3_600},
        {"iss": "https://evil.example.net"},
        {"aud": "other"},
        {"aud": None},
        {"sub": None},
        {"sub": "two words"},
        {"sub": "iptv;event"},
        {"kid": "other"},
        {"algorithm": "RS512"},
        {"key": EC, "algorithm": "ES256"},
        {"key": "shared-secret-of-at-least-32-octets", "algorithm": "HS256"},
        {"key": None, "algorithm": "none"},
    ],
    ids=[
        "late",
        "endless",
        "early",
        "issuer",
        "audience",
        "nobody's",
        "nameless",
        "blank",
        "separator",
        "kid",
        "alg",
        "key",
        "hmac",
        "none",
    ],
)
async def test_what_proves_nothing(tmp_path: Path, claims: dict[str, Any]) -> None:
    provider = Provider(tmp_path)
    with pytest.raises(RefusedWebToken):
        await provider.verifier.authority(provider.token(**claims), "")


async def test_clocks_may_differ_by_the_skew(tmp_path: Path) -> None:
    provider = Provider(tmp_path)
    await provider.verifier.authority(provider.token(exp=time.time_ns() // 1_000_000_000 - 15), "")


async def test_keys_are_renewed(tmp_path: Path) -> None:
    provider = Provider(tmp_path)
    old, new = provider.token(), provider.token(EC, "ec", "ES256")
    await provider.verifier.authority(old, "")
    provider.publish(ec=EC)
    with pytest.raises(RefusedWebToken):  # asked for a moment ago: made-up names of keys make no work
        await provider.verifier.authority(new, "")
    provider.now_ms += AGAIN_MS
    await provider.verifier.authority(new, "")
    with pytest.raises(RefusedWebToken):
        await provider.verifier.authority(old, "")
    provider.file.write_text("not JSON")
    provider.now_ms += KEPT_MS
    await provider.verifier.authority(new, "")  # while they cannot be read, the known ones are good


async def test_over_http(harness: ApiHarness, tmp_path: Path) -> None:
    provider = Provider(tmp_path)
    provider.now_ms = harness.now_ms()
    app: Any = application(harness.backoffice, Callers({TOKEN: "admin"}, web_tokens=provider.verifier), Http())
    harness.client._transport.app = app  # type: ignore[attr-defined]
    me = await harness.call("GET", "/v1/me", authorization=f"Bearer {provider.token()}")
    assert (me.status_code, me.json()["caller"]) == (200, "anna")
    refused = await harness.call("GET", "/v1/me", authorization=f"Bearer {provider.token(aud='x')}")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")


# --- how many


def test_a_second_at_once_and_then_the_rate() -> None:
    rates = RequestRates()
    assert [rates.wait_s("a", 2, 10.0) for _ in range(3)] == [0.0, 0.0, 0.5]
    assert rates.wait_s("b", 2, 10.0) == 0.0
    assert rates.wait_s("a", 2, 10.5) == 0.0
    assert rates.wait_s("a", 2, 10.5) == 0.5
    assert [rates.wait_s("a", 2, 100.0) for _ in range(3)] == [0.0, 0.0, 0.5]


async def test_a_caller_beyond_his_rate_is_told_when_to_come_again(harness: ApiHarness) -> None:
    access = Access(roles={"slow": CallerRole(("accounts.read",), rate=1)})
    harness.backoffice.roles.update(access.known_roles)
    token = (await harness.call("POST", "/v1/tokens", {"caller": "anna", "roles": ["slow"]})).json()["token"]
    answers = [await harness.call("GET", "/v1/me", authorization=f"Bearer {token}") for _ in range(3)]
    assert answers[0].status_code == 200
    assert (answers[2].status_code, answers[2].json()["type"]) == (429, "urn:ocs:problem:too-many")
    assert answers[2].headers["retry-after"] == "1"
    assert (await harness.call("GET", "/v1/me")).status_code == 200
