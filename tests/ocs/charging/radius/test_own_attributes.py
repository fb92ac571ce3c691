"""What a subscriber has of its own: what a NAS is told of it, and what is refused where it is written."""

from __future__ import annotations

from typing import Any

import pytest

from ocs.charging.radius.own_attributes import OCTETS_MAX, LeftOut, own_of, own_seconds, refused_of, told_of
from ocs.charging.radius.vendor_profile import VendorProfile, vendor_profiles
from ocs.charging.services import Service
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.dictionary.cisco import CISCO_AVPAIR
from protocol.radius.dictionary.standard import FILTER_ID
from protocol.radius.packet import Packet
from tariffs.units import Kind


def profile(**lines: Any) -> VendorProfile:
    return vendor_profiles({"own": lines})["own"]


def read(octets: bytes) -> Packet:
    return Packet.decode(b"\2\1" + (20 + len(octets)).to_bytes(2) + bytes(16) + octets)


def test_each_attribute_becomes_what_its_name_says() -> None:
    own = {
        "framed_ip_address": "192.0.2.77",
        "framed_ip_netmask": "255.255.255.255",
        "framed_ipv6_prefix": "2001:db8:1::/64",
        "delegated_ipv6_prefix": "2001:db8:2::/56",
        "framed_ipv6_address": "2001:db8::5",
        "framed_pool": "gold",
        "framed_ipv6_pool": "gold6",
        "delegated_ipv6_prefix_pool": "gold-pd",
        "framed_route": "198.51.100.0/29 192.0.2.77 1",
        "idle_timeout": "900",
        "filter_id": "kids",
    }
    packet = read(told_of(profile(), own, b"", "login", "subscriber"))
    names = {name: "-".join(part.capitalize() for part in name.split("_")) for name in own}
    found = {name: str(packet.get(ATTRIBUTES[said])) for name, said in names.items()}
    assert found == own
    assert read(told_of(profile(), own, b"", "subscriber")).attributes == [(FILTER_ID.key, b"kids")]


def test_what_is_said_already_counts_before_it() -> None:
    own = {"filter_id": "kids", "acl": "150"}
    maker = profile(subscriber=["Filter-Id = {subscriber.filter_id}", "Cisco-AVPair = ip:inacl={subscriber.acl}"])
    body = FILTER_ID.pack("garden") + CISCO_AVPAIR.pack("ip:inacl=garden")
    assert told_of(maker, own, body, "subscriber") == b""
    other = CISCO_AVPAIR.pack("ip:outacl=garden")
    assert told_of(maker, own, other, "subscriber") == FILTER_ID.pack("kids") + CISCO_AVPAIR.pack("ip:inacl=150")


def test_what_cannot_be_said_is_left_out_and_told_of() -> None:
    long = {f"a{number}": str(number) * 250 for number in range(1, 10)}
    lines = [f"Reply-Message = {{subscriber.{name}}}" for name in long]
    left_out: list[LeftOut] = []
    maker = profile(login=["Framed-IP-Address = {subscriber.framed_ip_address}", *lines])
    sent = told_of(maker, {"framed_ip_address": "192.0.2.300", **long}, b"", "login", left_out=left_out)
    assert 0 < len(sent) <= OCTETS_MAX
    assert left_out == [LeftOut("Framed-IP-Address", "value"), LeftOut("Reply-Message", "room")]
    assert len(read(sent).attributes) == 8, "whole, each of them"


def test_the_row_of_the_service_says_it_of_those_who_do_not() -> None:
    row = Service(name="data", unit=Kind.OCTETS, subscriber_defaults={"framed_pool": "basic", "idle_timeout": "600"})
    assert own_of({"framed_pool": "gold"}, row) == {"framed_pool": "gold", "idle_timeout": "600"}


@pytest.mark.parametrize(
    ("attributes", "named", "says"),
    [
        pytest.param({"framed_ip_address": "10.0.0.300"}, "framed_ip_address", "Framed-IP-Address", id="no address"),
        pytest.param({"framed_ipv6_prefix": "2001:db8::1/64"}, "framed_ipv6_prefix", "host bits", id="no prefix"),
        pytest.param({"idle_timeout": "soon"}, "idle_timeout", "expected a number", id="no number"),
        pytest.param({"idle_timeout": "-1"}, "idle_timeout", "Idle-Timeout", id="below zero"),
        pytest.param({"filter_id": "ü" * 127}, "filter_id", "at most 253", id="too long"),
        pytest.param({"session_timeout": "0"}, "session_timeout", "expected seconds", id="no time"),
        pytest.param({"session_timeout": "1h"}, "session_timeout", "expected seconds", id="no seconds"),
    ],
)
def test_what_no_nas_could_be_told_is_refused(attributes: dict[str, str], named: str, says: str) -> None:
    refused = refused_of({"segment": "gold", **attributes}, [profile()])
    assert refused is not None
    assert refused[0] == named
    assert says in refused[1]
    assert refused_of(attributes, []) is None, "without RADIUS nobody is told anything"


def test_a_session_timeout_that_is_none_says_nothing() -> None:
    assert [own_seconds({"session_timeout": one}) for one in ("3600", "0", "x", "9" * 20)] == [3600, None, None, None]
    assert own_seconds({}) is None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param("Nobody = {subscriber.a}", "no attribute has the name Nobody", id="unknown"),
        pytest.param("Tunnel-Password = {subscriber.a}", "encrypted", id="secret"),
        pytest.param("Class = {subscriber.a}", "said by the server itself", id="class"),
        pytest.param("Message-Authenticator = {subscriber.a}", "said by the server itself", id="proof"),
        pytest.param("Framed-Pool = {subscriber.}", "no fact subscriber.", id="no name"),
        pytest.param("Framed-IP-Address = x{subscriber.a}", "own.login", id="never an address"),
    ],
)
def test_a_line_that_could_never_be_sent_ends_the_start(line: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"own\.login") as refused:
        profile(login=[line])
    assert says in str(refused.value)


def test_only_what_a_login_sends_may_ask_of_the_subscriber() -> None:
    with pytest.raises(ValueError, match=r"no fact subscriber\.pool"):
        profile(speed=["Framed-Pool = {subscriber.pool}"])
