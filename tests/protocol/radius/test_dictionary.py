"""The dictionary against an independent transcription, and what configuration asks of it."""

import pytest

from protocol.radius.attribute import Attribute, folded
from protocol.radius.attribute_table import AttributeTable
from protocol.radius.dictionary import ATTRIBUTES, standard, values
from protocol.radius.packet import Packet
from protocol.radius.types import INTEGER, TEXT
from tests.protocol.vectors import GOLDEN

ROWS = {
    (int(row[0]), row[2]): row
    for row in (line.split("\t") for line in (GOLDEN / "radius-attributes.tsv").read_text().splitlines()[5:])
}
TYPES = {
    "string": "text",
    "octets": "string",
    "ipaddr": "ipv4addr",
    "date": "time",
    "abinary": "string",
}
ALL = list(ATTRIBUTES)


@pytest.mark.parametrize("attribute", ALL, ids=lambda attribute: attribute.name)
def test_attribute(attribute: Attribute[object]) -> None:
    _, _, _, name, kind, flags = ROWS[attribute.vendor, attribute.code][:6]
    assert attribute.name == name
    assert attribute.tagged == ("has_tag" in flags)
    assert attribute.encrypt == (int(flags.partition("encrypt=")[2][:1]) if "encrypt=" in flags else 0)
    ours = "integer" if attribute.type.name == "enum" else attribute.type.name
    theirs = kind.partition("[")[0]
    if "concat" in flags or attribute is standard.NAS_FILTER_RULE:
        assert ours == "concat"
    elif attribute.encrypt:
        assert ours == "string"
    else:
        assert ours == TYPES.get(theirs, theirs)
    if "[" in kind and not attribute.encrypt:
        assert attribute.type.size == int(kind.partition("[")[2].rstrip("]"))


@pytest.mark.parametrize(
    "attribute", [one for one in ALL if one.values and not one.vendor], ids=lambda attribute: attribute.name
)
def test_names_of_values(attribute: Attribute[object]) -> None:
    pairs = [pair.split("=") for pair in ROWS[0, attribute.code][6].split(";")]
    for number, name in pairs:
        ours = {value for known, value in attribute.values.items() if known == folded(name)}
        # Where one number has two names there (Alive and Interim-Update, IP and IPv4), we have one of them.
        assert ours == {int(number)} or int(number) in attribute.values.values()


def test_names_are_found_however_they_are_spelt() -> None:
    assert ATTRIBUTES["mikrotik_rate_limit"] is ATTRIBUTES["Mikrotik-Rate-Limit"]
    assert "h323-credit-time" in ATTRIBUTES
    assert "H323-CREDIT-TIME" in ATTRIBUTES
    assert ATTRIBUTES.get("Nothing") is None
    with pytest.raises(KeyError):
        ATTRIBUTES["Nothing"]
    assert ATTRIBUTES.at(9 << 32 | 1) is ATTRIBUTES["Cisco-AVPair"]
    assert ATTRIBUTES.at(24757 << 32 | 37, (2,)) is ATTRIBUTES["WiMAX-Volume-Quota"]
    assert standard.SERVICE_TYPE.values["framed_user"] == values.ServiceType.FRAMED_USER
    assert len(ATTRIBUTES) == len(ALL)


def test_a_name_or_place_is_taken_once() -> None:
    table = AttributeTable([Attribute("One", 1, INTEGER)])
    with pytest.raises(TypeError, match="also declared"):
        table.add(Attribute("one", 2, INTEGER))
    with pytest.raises(TypeError, match="also declared"):
        table.add(Attribute("Two", 1, TEXT))
    table.add(Attribute("Two", 1, TEXT, vendor=5))


def test_a_constant_is_called_like_its_attribute() -> None:
    for name, value in vars(standard).items():
        if isinstance(value, Attribute):
            assert name.lower() == folded(value.name)


def test_siblings_share_what_holds_them() -> None:
    ppaq = ATTRIBUTES["WiMAX-PPAQ"]
    quota, threshold = ATTRIBUTES["WiMAX-Volume-Quota"], ATTRIBUTES["WiMAX-Volume-Threshold"]
    packet = Packet(2).add(ppaq, quota.tlv(10240) + threshold.tlv(9216))
    assert len(packet.attributes) == 1
    assert (packet.get(quota), packet.get(threshold)) == (10240, 9216)
    assert not packet.has(ATTRIBUTES["WiMAX-Duration-Quota"])
    assert packet.get(ATTRIBUTES["WiMAX-Duration-Quota"]) is None
