"""Operators' dictionary files: what they add, how their mistakes are told, and all that FreeRADIUS ships."""

from pathlib import Path

import pytest

from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.dictionary_files import DictionaryFileError, load_dictionary
from protocol.radius.packet import Packet

SHIPPED = Path("/usr/share/freeradius/dictionary")
OURS = """
VENDOR          Acme            32473
BEGIN-VENDOR    Acme
ATTRIBUTE       Acme-Speed              1       String      # capitals happen
ATTRIBUTE       Acme-Grade              2       integer
VALUE           Acme-Grade              Silver-Plus     7
ATTRIBUTE       Acme-Secret             3       octets      has_tag,encrypt=2
ATTRIBUTE       Acme-Blob               4       octets[4]
ATTRIBUTE       Acme-Where              5       combo-ip
ATTRIBUTE       Acme-Group              6       tlv
ATTRIBUTE       Acme-Inner              6.1     ipv4prefix
ATTRIBUTE       Acme-Deep               6.2     tlv
ATTRIBUTE       Acme-Deeper             6.2.1   integer
END-VENDOR      Acme
ATTRIBUTE       Our-Certificate         192     octets      concat
VALUE           Service-Type            Our-Own         200
"""


def written(folder: Path, text: str, name: str = "dictionary.acme") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_what_a_file_adds(tmp_path: Path) -> None:
    included = written(tmp_path, OURS)
    path = written(tmp_path, f"$INCLUDE {included.name}\n$INCLUDE- nothing.here\n", "dictionary")
    loaded = load_dictionary([path], ATTRIBUTES)
    table = loaded.attributes
    packet = (
        Packet(2).add(table["acme-speed"], "10M").add(table["Acme-Grade"], table["Acme-Grade"].values["silver_plus"])
    )
    packet.add(table["Acme-Where"], "2001:db8::1").add(table["Acme-Inner"], "10.0.0.0/8")
    packet.add(table["Our-Certificate"], bytes(600))
    read = Packet.decode(packet.encode())
    assert read.get(table["Acme-Grade"]) == 7
    assert str(read.get(table["Acme-Inner"])) == "10.0.0.0/8"
    assert read.get(table["Our-Certificate"]) == bytes(600)
    assert (table["Acme-Secret"].tagged, table["Acme-Secret"].encrypt) == (True, 2)
    assert table["Acme-Blob"].type.size == 4
    assert table["Service-Type"].values["our_own"] == 200
    assert table["Service-Type"].values["framed_user"] == 2
    assert table.at(6) is table["Service-Type"]
    assert "our_own" not in ATTRIBUTES["Service-Type"].values
    assert loaded.skipped == ("Acme-Deep", "Acme-Deeper")
    assert len(table) == len(ATTRIBUTES) + 8


def test_what_is_known_may_have_another_name(tmp_path: Path) -> None:
    path = written(
        tmp_path, "VENDOR Mikrotik 14988\nBEGIN-VENDOR Mikrotik\nATTRIBUTE MT-Rate 8 string\nEND-VENDOR Mikrotik\n"
    )
    table = load_dictionary([path], ATTRIBUTES).attributes
    assert table["MT-Rate"] is table["Mikrotik-Rate-Limit"]
    assert len(table) == len(ATTRIBUTES)


WRONG = {
    "type": ("ATTRIBUTE A 200 float\n", "dictionary.acme:1: Illegal type: float"),
    "code": ("\nATTRIBUTE A x integer\n", "dictionary.acme:2: Illegal attribute code: x"),
    "short": ("ATTRIBUTE A 1\n", "dictionary.acme:1: Incorrect number"),
    "taken": ("ATTRIBUTE User-Name 200 string\n", r"dictionary.acme:1: User-Name is also User-Name \(1\)"),
    "format": ("VENDOR A 32473 format=2,2\n", "dictionary.acme:1: vendor A is not known to use format=2,2"),
    "no format": ("VENDOR A 32473 shape=2,2\n", "dictionary.acme:1: shape=2,2 where format="),
    "include": ("$INCLUDE not.there\n", "not.there: No such file"),
    "circle": ("$INCLUDE dictionary.acme\n", "Recursive include"),
    "value": ("ATTRIBUTE A 200 integer\nVALUE A one eins\n", "dictionary.acme:2: Illegal value"),
    "large": (
        "VENDOR A 32473\nBEGIN-VENDOR A\nATTRIBUTE A 300 integer\nEND-VENDOR A\n",
        "dictionary.acme:3: A: type 300",
    ),
    "known value": ("VALUE Service-Type Mine zwei\n", "dictionary.acme:1: zwei where a number"),
    "vendor": ("BEGIN-VENDOR Nobody\n", "dictionary.acme:1: Unknown vendor"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_told_with_its_line(case: str, tmp_path: Path) -> None:
    text, why = WRONG[case]
    with pytest.raises(DictionaryFileError, match=why):
        load_dictionary([written(tmp_path, text)], ATTRIBUTES)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(DictionaryFileError, match="No such file"):
        load_dictionary([tmp_path / "nothing"], ATTRIBUTES)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\n")
    with pytest.raises(DictionaryFileError, match="not UTF-8"):
        load_dictionary([tmp_path / "binary"], ATTRIBUTES)


@pytest.mark.skipif(not SHIPPED.exists(), reason="FreeRADIUS's dictionaries are not installed")
def test_the_set_that_freeradius_ships() -> None:
    loaded = load_dictionary([SHIPPED], ATTRIBUTES)
    assert len(loaded.attributes) > 6000
    for attribute in ATTRIBUTES:
        theirs = loaded.attributes[attribute.name]
        assert (theirs.key, theirs.below) == (attribute.key, attribute.below)
    starent = loaded.attributes["SN-VPN-Name"]
    assert starent.pack("foo").hex() == "1a0d00001fe400020007666f6f"
