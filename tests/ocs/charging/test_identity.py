"""Networks spell one subscriber in many ways; operators too."""

from __future__ import annotations

import pytest

from ocs.charging.identity import IdentityKind, canonical, number_in, party, spelled

SPELLINGS = """
msisdn    491700000001                                            msisdn:491700000001
msisdn    +491700000001                                           msisdn:491700000001
msisdn    tel:+49-170-0000001                                     msisdn:491700000001
msisdn    tel:+491700000001;phone-context=example.net             msisdn:491700000001
msisdn    TEL:491700000001                                        msisdn:491700000001
msisdn    sip:+491700000001@ims.example.net                       sip:491700000001@ims.example.net
imsi      001010000000001                                         imsi:001010000000001
sip       sip:+491700000001@Example.NET;user=phone                sip:491700000001@example.net
sip       SIPS:Alice@example.net?subject=x                        sip:alice@example.net
sip       alice@example.net                                       sip:alice@example.net
sip       sip:+491700000001;npdi;rn=+4917@Example.net;user=phone?x=@  sip:491700000001@example.net
sip       sip:alice@example.net;maddr=bob@example.org             sip:alice@example.net
sip       tel:+491700000001                                       msisdn:491700000001
nai       Alice@Example.net                                       nai:alice@example.net
private   001010000000001@IMS.mnc001.example               private:001010000000001@ims.mnc001.example
username  Alice                                                   username:Alice
username  Alice@WISP.example                                      username:Alice@wisp.example
mac       00-1A-2b:3c.4d5E                                        mac:001a2b3c4d5e
subscriber  s-17                                                  subscriber:s-17
"""


@pytest.mark.parametrize("line", SPELLINGS.strip().splitlines())
def test_one_spelling(line: str) -> None:
    kind, text, wanted = line.split()
    assert spelled(IdentityKind(kind), text) == wanted
    assert canonical(f"{kind}:{text}") == wanted
    assert canonical(wanted) == wanted  # what is stored is found again


@pytest.mark.parametrize("bad", ["", "msisdn", "msisdn:", "msisdn:+", "phone:49", "sip:", "sip:sip:", "imsi: "])
def test_not_an_identity(bad: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        canonical(bad)


def test_a_number_inside_a_sip_address() -> None:
    assert number_in("sip:491700000001@example.net") == "msisdn:491700000001"
    assert number_in("sip:alice@example.net") == number_in("sip:112@example.net") == ""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("4917012345", "4917012345"),
        ("+4917012345", "+4917012345"),
        ("+49 (170) 12345", "+4917012345"),
        ("017012345", "017012345"),
        ("tel:+49-170-12345", "+4917012345"),
        ("tel:112;phone-context=+49", "112"),
        ("sip:+4917012345@ims.example.net;user=phone", "+4917012345"),
        ("sips:+49170-12345;phone-context=x@ims.example.net", "+4917012345"),
        ("sip:017012345@pbx.example.net", "017012345"),
        ("sip:112@ims.example.net", "112"),
        ("alice@example.net", "alice@example.net"),
        ("", ""),
        ("+", "+"),
        ("sip:Bob@example.net", "bob@example.net"),
        ("sip:Bob;x=1@example.net;user=ip", "bob@example.net"),
        ("urn:service:sos", "urn:service:sos"),
    ],
)
def test_parties_of_a_call(text: str, wanted: str) -> None:
    assert party(text) == wanted
