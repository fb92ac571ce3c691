"""Every golden packet: decoded to its expectation, encoded to its octets, its authenticators as it says."""

from typing import Any

import pytest

from protocol.radius.attribute import AnyAttribute
from protocol.radius.authenticator import answer, check_request, check_response, signed_request
from protocol.radius.codes import PROVEN_REQUESTS
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.packet import Packet
from protocol.radius.refused import RadiusError
from protocol.radius.vendor import unfold
from tests.protocol.radius.golden import NEGATIVE, PACKETS, secret
from tests.protocol.vectors import octets

SIGNED_FIRST = [
    i for i, v in PACKETS.items() if v.get("message_authenticator_valid") and v["expect"]["attributes"][0]["type"] == 80
]


def shown(value: Any) -> Any:
    """A value as the vectors write it."""
    return {"hex": value.hex()} if isinstance(value, bytes) else value if isinstance(value, int) else str(value)


@pytest.mark.parametrize("vector", PACKETS)
def test_packet(vector: str) -> None:
    expect = PACKETS[vector]["expect"]
    packet = Packet.decode(octets(PACKETS[vector]))
    assert (packet.code, packet.identifier, len(packet.octets), packet.authenticator.hex()) == (
        expect["code"],
        expect["identifier"],
        expect["length"],
        expect["authenticator"],
    )
    assert packet.encode() == packet.octets
    assert len(packet.attributes) == len(expect["attributes"])
    for (kind, raw), wanted in zip(packet.attributes, expect["attributes"], strict=True):
        assert (kind, len(raw) + 2) == (wanted["type"], wanted["length"])
        alone = Packet(packet.code, attributes=[(kind, raw)])
        if "sub" in wanted:
            inside = unfold([(kind, raw)])
            assert [key for key, _ in inside] == [wanted["vendor"] << 32 | sub["type"] for sub in wanted["sub"]]
            for (key, part), sub in zip(inside, wanted["sub"], strict=True):
                attribute = ATTRIBUTES.at(key)
                assert attribute is not None
                assert attribute.name == sub["name"]
                check_value(alone, attribute, part, sub["value"] if "value" in sub else {"hex": sub["hex"]})
            continue
        attribute = ATTRIBUTES.at(kind)
        assert attribute is not None
        assert attribute.name == wanted["name"]
        check_value(alone, attribute, raw, wanted["value"])


def check_value(alone: Packet, attribute: AnyAttribute, raw: bytes, wanted: Any) -> None:
    if isinstance(wanted, dict):  # the vectors know no better, or it is no value of the type
        assert raw.hex() == wanted["hex"]
    else:
        assert shown(alone.get(attribute)) == wanted


@pytest.mark.parametrize("vector", [i for i, v in PACKETS.items() if any(m.endswith("_valid") for m in v)])
def test_authenticators(vector: str) -> None:
    golden = PACKETS[vector]
    packet, key = Packet.decode(octets(golden)), secret(golden)
    if "request" in golden:
        request = octets(PACKETS[golden["request"]])
        if golden.get("response_authenticator_valid", True):
            assert check_response(packet, request, key) == ("message_authenticator_valid" in golden)
        else:
            with pytest.raises(RadiusError, match="Response Authenticator is wrong"):
                check_response(packet, request, key)
    else:
        assert check_request(packet, key) == ("message_authenticator_valid" in golden)
    with pytest.raises(RadiusError):
        _check(packet, golden, key + b"x")


def _check(packet: Packet, golden: dict[str, Any], key: bytes) -> None:
    if "request" in golden:
        check_response(packet, octets(PACKETS[golden["request"]]), key)
    else:
        check_request(packet, key)


def test_the_reply_to_status_server_of_the_rfc_as_it_should_be_printed() -> None:
    """RFC 5997 section 6.2 prints code 2; the authenticator is that of code 5."""
    golden = PACKETS["rad-rfc-status-acct-reply"]
    right = b"\x05" + octets(golden)[1:]
    request = octets(PACKETS[golden["request"]])
    assert check_response(Packet.decode(right), request, secret(golden)) is False
    assert answer(Packet.decode(request), 5, secret(golden), sign=False) == right


@pytest.mark.parametrize("vector", SIGNED_FIRST)
def test_signing_gives_the_octets_of_the_vector(vector: str) -> None:
    golden = PACKETS[vector]
    packet, key = Packet.decode(octets(golden)), secret(golden)
    rest = b"".join(bytes((k, len(v) + 2)) + v for k, v in packet.attributes if k not in (80, 33))
    if "request" in golden:
        request = Packet.decode(octets(PACKETS[golden["request"]]))
        made = answer(request, packet.code, key, rest)
        if request.proxy_states and not packet.proxy_states:
            assert made.endswith(request.proxy_states)  # these vectors forget to repeat them
        else:
            assert made == packet.octets
    else:
        assert signed_request(packet, key) == packet.octets


@pytest.mark.parametrize("vector", [i for i, v in PACKETS.items() if "request_authenticator_valid" in v])
def test_requests_are_signed_as_the_vector_is(vector: str) -> None:
    golden = PACKETS[vector]
    packet = Packet.decode(octets(golden))
    assert packet.code in PROVEN_REQUESTS
    assert signed_request(packet, secret(golden), sign=False) == packet.octets
    assert check_request(Packet.decode(signed_request(packet, secret(golden))), secret(golden))


@pytest.mark.parametrize("vector", NEGATIVE)
def test_negative(vector: str) -> None:
    golden = NEGATIVE[vector]
    frame = octets(golden)
    if golden["kind"] == "attributes":
        frame = b"\x01\x00" + (20 + len(frame)).to_bytes(2) + bytes(16) + frame
    with pytest.raises(RadiusError) as error:
        check_request(Packet.decode(frame), secret(golden))
    assert error.value.why
    assert error.value.reason
