"""Attributes that the configuration maps to inputs of rating: a session is priced by them, as by any other fact."""

from __future__ import annotations

from typing import Any

import pytest

from ocs.charging.radius.mapped_input import mapped_inputs, told_in
from ocs.charging.radius.names import SessionReference
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.dictionary.values import AcctStatusType
from tests.ocs.charging.radius.nas import USER, Bras, accounting
from tests.ocs.charging.world import EURO, World

MB = 2**20
POOLS = """
tariff = "pools"
currency = "EUR"
[[rows]]
when = { service = "data", network.pool = "gold*" }
flat = { price = "0.01", per = "1 MB" }
[[rows]]
when = { service = "data" }
flat = { price = "0.05", per = "1 MB" }
"""
OURS = SessionReference("ab12", "cd34").octets


def told(written: dict[str, str], **attributes: Any) -> str:
    return told_in(accounting(AcctStatusType.START, **attributes), mapped_inputs(written, ATTRIBUTES))


def test_a_session_is_priced_by_what_it_told_of_itself() -> None:
    world = World(POOLS)
    world.subscriber(f"username:{USER}")
    bras = Bras(world, inputs=mapped_inputs({"pool": "Framed-Pool"}, ATTRIBUTES))
    bras.start(Framed_Pool="gold-7", Class=OURS)
    bras.interim(60, (3 * MB, 0), Framed_Pool="gold-7", Class=OURS)
    bras.interim(120, (5 * MB, 0), Class=OURS)
    assert world.balance() == 20 * EURO - 5 * 10_000, "what a packet leaves out was told before"
    bras.interim(180, (5 * MB, 0), Framed_Pool="silver", Class=OURS)
    bras.stop(240, (6 * MB, 0), Class=OURS)
    assert world.balance() == 20 * EURO - 5 * 10_000 - 50_000, "granted by what was told with it"


def test_values_are_texts() -> None:
    written = {
        "pool": "framed-pool",
        "kind": "NAS-Port-Type",
        "where": "3GPP-Location-Info",
        "ip": "Framed-IP-Address",
    }
    attributes = {"Framed_Pool": "a;b\n", "NAS_Port_Type": 5, "Framed_IP_Address": "192.0.2.7"}
    location = {"3GPP_Location_Info": bytes.fromhex("8262f210")}
    assert told(written, **attributes, **location) == "ip=192.0.2.7;kind=5;pool=a,b;where=8262f210"


def test_of_pairs_the_one_that_is_named() -> None:
    written = {"policy": "Cisco-AVPair=ip:sub-qos-policy-in"}
    packet = accounting(AcctStatusType.START, Cisco_AVPair="connect-progress=Call Up")
    packet.add(ATTRIBUTES["Cisco-AVPair"], "ip:sub-qos-policy-in=gold")
    assert told_in(packet, mapped_inputs(written, ATTRIBUTES)) == "policy=gold"
    assert told(written, Cisco_AVPair="ip:sub-qos-policy-inside=x") == ""


def test_our_own_class_is_state_of_ours_and_no_input() -> None:
    packet = accounting(AcctStatusType.START, Class=OURS)
    mapped = mapped_inputs({"class": "Class"}, ATTRIBUTES)
    assert told_in(packet, mapped) == ""
    packet.add(ATTRIBUTES["Class"], b"wholesale-3")
    assert told_in(packet, mapped) == "class=wholesale-3"


def test_a_value_that_is_none_says_nothing_and_drops_no_packet() -> None:
    packet = accounting(AcctStatusType.START)
    packet.attributes.append((8, b"\x01"))
    assert told_in(packet, mapped_inputs({"ip": "Framed-IP-Address"}, ATTRIBUTES)) == ""


@pytest.mark.parametrize(
    ("written", "says"),
    [
        pytest.param({"pool": "Nobody"}, "none has the name Nobody", id="unknown"),
        pytest.param({"po ol": "Framed-Pool"}, "a name of", id="name"),
        pytest.param({"secret": "User-Password"}, "is secret", id="secret"),
        pytest.param({"secret": "Tunnel-Password"}, "is secret", id="encrypted"),
        pytest.param({f"n{number}": "Framed-Pool" for number in range(9)}, "at most 8", id="too many"),
    ],
)
def test_what_cannot_be_mapped_is_said(written: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        mapped_inputs(written, ATTRIBUTES)
