"""The tables against an independent transcription of the specifications."""

from collections import Counter

import pytest

from protocol.diameter.avp import Avp, Group, Member, many, opt, req
from protocol.diameter.dictionary import DICTIONARY, base
from protocol.diameter.dictionary import credit_control as cc
from protocol.diameter.types import UNSIGNED32
from tests.protocol.vectors import GOLDEN

ROWS = [
    line.split("\t") for line in (GOLDEN / "diameter-avps.tsv").read_text().splitlines() if not line.startswith("#")
][1:]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[2]}")
def test_avp(row: list[str]) -> None:
    code, vendor, name, kind, m_rule = row[:5]
    avp = DICTIONARY.known[int(vendor) << 32 | int(code)]
    assert (avp.name, avp.code, avp.vendor, avp.type.name) == (name, int(code), int(vendor), kind)
    assert bool(avp.flags & 0x40) == (m_rule == "MUST")
    assert bool(avp.flags & 0x80) == (vendor != "0")


@pytest.mark.parametrize("row", [row for row in ROWS if row[5]], ids=lambda row: f"{row[2]}")
def test_closed_enumerations_have_exactly_their_values(row: list[str]) -> None:
    avp = DICTIONARY.known[int(row[1]) << 32 | int(row[0])]
    if avp.type.check is None:
        return  # open
    values = {int(pair.split("=")[0]) for pair in row[5].split(";")}
    for value in range(-2, max(values) + 3):
        data = value.to_bytes(4, "big", signed=True)
        if value in values:
            avp.type.check(data)
            assert avp.type.decode is not None
            assert avp.type.decode(value) == value
        else:
            with pytest.raises(ValueError, match="is no"):
                avp.type.check(data)


COMMANDS = {  # RFC 6733 section 3.1, RFC 8506 section 3: code, request, name
    (257, True): "CapabilitiesExchangeRequest",
    (257, False): "CapabilitiesExchangeAnswer",
    (258, True): "ReAuthRequest",
    (258, False): "ReAuthAnswer",
    (271, True): "AccountingRequest",
    (271, False): "AccountingAnswer",
    (272, True): "CreditControlRequest",
    (272, False): "CreditControlAnswer",
    (274, True): "AbortSessionRequest",
    (274, False): "AbortSessionAnswer",
    (275, True): "SessionTerminationRequest",
    (275, False): "SessionTerminationAnswer",
    (280, True): "DeviceWatchdogRequest",
    (280, False): "DeviceWatchdogAnswer",
    (282, True): "DisconnectPeerRequest",
    (282, False): "DisconnectPeerAnswer",
}


def test_commands() -> None:
    assert {key: cls.__name__ for key, cls in DICTIONARY.commands.items()} == COMMANDS


def test_names_of_fields_and_classes() -> None:
    for avp in DICTIONARY.known.values():
        assert avp.field.isidentifier()
        if avp.type.group is not None:
            assert avp.type.group.__name__.lower() == avp.name.replace("-", "").lower()
    clashes = [name for name, n in Counter(a.field for a in DICTIONARY.known.values()).items() if n > 1]
    assert sorted(clashes) == ["filter_id", "mac_address"]  # of two vendors each


def test_a_group_knows_its_declaration() -> None:
    members = cc.MultipleServicesCreditControl.spec.members
    assert isinstance(members["rating_group"], Member)
    assert members["used_service_unit"].many
    assert cc.CreditControlRequest.spec.required >= {"session_id", "cc_request_type"}


def test_wrong_declarations_stop_the_import() -> None:
    seconds = Avp("CC-Time", 420, UNSIGNED32)
    with pytest.raises(TypeError, match="must be called cc_time"):
        type("Wrong", (Group,), {"seconds": opt(seconds)})
    with pytest.raises(TypeError, match="same AVP twice"):
        type("Twice", (Group,), {"cc_time": opt(seconds), "cc_money": many(Avp("CC-Money", 420, UNSIGNED32))})
    other = type("Module", (), {"A": seconds, "B": Avp("CC-Zeit", 420, UNSIGNED32)})
    with pytest.raises(TypeError, match="also declared"):
        type(DICTIONARY)(other)  # type: ignore[arg-type]


def test_a_missing_or_misspelt_field_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"missing \['subscription_id_data'\]"):
        cc.SubscriptionId(subscription_id_type=0)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"unknown \['rating_grp'\]"):
        cc.MultipleServicesCreditControl(rating_grp=1)  # type: ignore[call-arg]
    assert req is not opt


def test_a_relay_is_the_highest_application() -> None:
    assert base.RELAY == 0xFFFFFFFF
