"""Vendor profiles: what is written becomes the octets of that maker, and what is wrong is said where it stands."""

from typing import Any

import pytest

from ocs.charging.radius.attribute_template import FACTS, AttributeTemplate, speed, volume
from ocs.charging.radius.vendor_profile import VendorProfile, vendor_profiles
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.packet import Packet

NAMED = (
    "generic mikrotik cisco juniper-erx redback huawei accel-ppp ubiquiti alcatel-sr nokia freeswitch asterisk wispr"
)


def profiles(**configured: dict[str, Any]) -> dict[str, VendorProfile]:
    return vendor_profiles({name.replace("_", "-"): one for name, one in configured.items()}, table=ATTRIBUTES)


def read(octets: bytes, name: str) -> list[Any]:
    """The values of an attribute in what is sent, read as the NAS would."""
    packet = Packet.decode(b"\2\1" + (20 + len(octets)).to_bytes(2) + bytes(16) + octets)
    attribute = ATTRIBUTES[name]
    return [value for _, value in packet.tagged(attribute)] if attribute.tagged else packet.get_all(attribute)


def test_every_maker_of_the_list_has_a_profile() -> None:
    assert set(NAMED.split()) <= profiles().keys()


def test_a_speed_is_spelt_as_each_maker_reads_it() -> None:
    """Mikrotik: upload first; accel-ppp: download first, in kbit/s (field notes)."""
    all_of, facts = profiles(), speed(down_bps=20_000_000, up_bps=4_000_500)
    assert read(all_of["mikrotik"].sends("speed", facts), "Mikrotik-Rate-Limit") == ["4000500/20000000"]
    assert read(all_of["accel-ppp"].sends("speed", facts), "Filter-Id") == ["20000/4001"]
    sent = all_of["wispr"].sends("speed", facts)
    assert read(sent, "WISPr-Bandwidth-Max-Up") == [4_000_500]
    assert read(sent, "WISPr-Bandwidth-Max-Down") == [20_000_000]
    sent = all_of["cisco"].sends("speed", {**facts, "grade": "gold"})
    assert read(sent, "Cisco-AVPair") == ["ip:sub-qos-policy-in=gold", "ip:sub-qos-policy-out=gold"]
    assert read(all_of["huawei"].sends("speed", facts), "Huawei-Output-Average-Rate") == [20_000_000]


def test_a_tag_stands_before_the_value() -> None:
    sent = profiles()["juniper-erx"].sends("speed", {**speed(2_000_000, 1_000_000), "grade": "internet"})
    attribute = ATTRIBUTES["ERX-Service-Activate"]
    packet = Packet.decode(b"\2\1" + (20 + len(sent)).to_bytes(2) + bytes(16) + sent)
    assert packet.tagged(attribute) == [(1, "internet(2000000, 1000000)")]


@pytest.mark.parametrize(
    ("octets", "low", "high"), [(1, 1, 0), (2**32 - 1, 2**32 - 1, 0), (2**32, 0, 1), (5 * 2**32 + 9, 9, 5)]
)
def test_a_volume_of_more_than_32_bits_is_sent_in_two_halves(octets: int, low: int, high: int) -> None:
    sent = profiles()["mikrotik"].sends("volume_limit", volume(octets))
    assert read(sent, "Mikrotik-Total-Limit") == [low]
    assert read(sent, "Mikrotik-Total-Limit-Gigawords") == [high]


def test_who_has_one_half_only_gets_no_more_than_fits() -> None:
    chilli = profiles()["chillispot"]
    assert read(chilli.sends("volume_limit", volume(2**33 + 5)), "ChilliSpot-Max-Total-Octets") == [2**32 - 1]
    assert read(chilli.sends("volume_limit", volume(77)), "ChilliSpot-Max-Total-Octets") == [77]


def test_what_is_not_known_is_not_sent() -> None:
    mikrotik = profiles()["mikrotik"]
    assert mikrotik.sends("speed", {}) == b""
    assert mikrotik.sends("speed", speed(down_bps=1_000, up_bps=0)) == b""
    assert mikrotik.sends("suspended", {"filter": ""}) == b""
    assert mikrotik.sends("volume_limit", {}) == b""


def test_what_does_not_fit_the_attribute_is_not_sent() -> None:
    assert profiles()["huawei"].sends("speed", speed(2**32, 1_000)) != b""
    assert read(profiles()["huawei"].sends("speed", speed(2**32, 1_000)), "Huawei-Output-Average-Rate") == []


def test_an_operator_changes_a_line_of_a_shipped_profile_and_keeps_the_rest() -> None:
    changed = profiles(mikrotik={"suspended": ["Mikrotik-Address-List = garden-{grade}"]})["mikrotik"]
    assert read(changed.sends("suspended", {"grade": "x"}), "Mikrotik-Address-List") == ["garden-x"]
    assert changed.knows("volume_limit")
    assert changed.about == profiles()["mikrotik"].about


def test_an_operator_makes_a_profile_of_another_one() -> None:
    own = profiles(our_bras={"based_on": "mikrotik", "can_change": False})["our-bras"]
    assert not own.can_change
    assert own.can_disconnect
    assert own.sends("speed", speed(2, 1)) == profiles()["mikrotik"].sends("speed", speed(2, 1))
    assert not profiles(other={})["other"].knows("volume_limit")


def test_an_enumerated_value_may_be_named() -> None:
    own = profiles(own={"disconnect": ["Service-Type = Framed-User", "Acct-Terminate-Cause = admin-reset"]})["own"]
    sent = own.sends("disconnect", {})
    assert read(sent, "Service-Type") == [2]
    assert read(sent, "Acct-Terminate-Cause") == [6]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        pytest.param({"speed": ["Nobody-Knows = 1"]}, "own.speed: .*no attribute has the name Nobody-Knows", id="name"),
        pytest.param({"speed": ["Mikrotik-Rate-Limit {up_bps}"]}, "expected `Attribute = value`", id="no-equals"),
        pytest.param({"speed": ["Filter-Id = {velocity}"]}, "no fact velocity; there are up_bps", id="fact"),
        pytest.param({"speed": ["Filter-Id = {up_bps"]}, "a brace without its other half", id="brace"),
        pytest.param({"speed": ["Filter-Id ="]}, "expected a value", id="empty"),
        pytest.param({"speed": ["Filter-Id:3 = x"]}, "expected no tag", id="no-tag"),
        pytest.param({"speed": ["ERX-Service-Activate:32 = x"]}, "a tag of 1 to 31", id="tag"),
        pytest.param({"speed": ["Session-Timeout = soon"]}, "expected a number, found 'soon'", id="number"),
        pytest.param({"speed": ["Service-Type = Dancing"]}, "a number or one of", id="enum"),
        pytest.param({"speed": ["Framed-IP-Address = 10.0.0.256"]}, "own.speed: 'Framed-IP-Address", id="address"),
        pytest.param({"speed": ["User-Password = x"]}, "sent encrypted", id="encrypted"),
        pytest.param({"spede": []}, "unknown field `spede`", id="key"),
        pytest.param({"speed": "Filter-Id = x"}, r"own: Expected `array.*speed", id="not-a-list"),
        pytest.param({"names_session": ["Acct-Session-ID", "What"]}, "own.names_session: .*What", id="identification"),
        pytest.param({"names_session": []}, "own.names_session: expected at least one", id="nothing-named"),
        pytest.param({"based_on": "mikrotic"}, "own.based_on: no profile mikrotic; there are", id="base"),
        pytest.param({"based_on": "own"}, "own -> own goes round in a circle", id="circle"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        profiles(own=document)


def test_each_fact_has_an_example_that_can_be_sent() -> None:
    for name in FACTS:
        assert AttributeTemplate(f"Filter-Id = {{{name}}}", ATTRIBUTES).octets(FACTS)
