"""The golden vectors of RADIUS, by id."""

from typing import Any

from tests.protocol.vectors import load

RFC = load("radius-rfc.json")
FREERADIUS = load("radius-freeradius-packets.json")
HELD = load("radius-freeradius-attributes.json")
TOOL = load("radius-tool.json")
CRYPTO = load("radius-crypto.json")
NEGATIVE = load("radius-negative.json")
PACKETS: dict[str, dict[str, Any]] = RFC | FREERADIUS | TOOL


def secret(vector: dict[str, Any]) -> bytes:
    return str(vector.get("secret", "")).encode()
