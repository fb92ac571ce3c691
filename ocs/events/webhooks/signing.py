"""Secrets and signatures of webhooks, as Standard Webhooks says: HMAC-SHA256 over `id.timestamp.body`, version v1.

A secret is `whsec_` and 32 octets in base64. The receiver checks the signature with any library of Standard
Webhooks, and refuses a timestamp that is far from its own clock; so every attempt is signed anew.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32


def new_secret() -> str:
    """A secret nobody has had before."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """The octets that sign. Raises ValueError where it is no secret of ours."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"expected a secret that begins with {PREFIX}")
    return base64.b64decode(secret.removeprefix(PREFIX), validate=True)


def signature(secret: str, event: str, at_s: int, body: bytes) -> str:
    """`v1,` and the signature in base64."""
    made = hmac.new(key_of(secret), f"{event}.{at_s}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(made.digest()).decode()


def signed_headers(valid: Sequence[str], event: str, at_s: int, body: bytes) -> dict[str, str]:
    """The headers of one attempt, Unix seconds `at_s`. valid: the secret and, while one that was replaced still counts,
    that one too: the receiver takes either signature."""
    return {
        "webhook-id": event,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(signature(secret, event, at_s, body) for secret in valid),
    }
