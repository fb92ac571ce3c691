"""A NAS is told of a session by the attributes that it wrote itself, octet for octet (field notes)."""

from ipaddress import IPv4Address

from ocs.charging.radius.names import IDENTIFICATION_MAX, identification_of
from ocs.charging.radius.nas import NasProfile
from ocs.charging.radius.vendor_profile import vendor_profiles
from ocs.config.load import load
from ocs.net.radius.clients import NasClients
from protocol.radius.dictionary.standard import (
    ACCT_SESSION_ID,
    ACCT_SESSION_TIME,
    FRAMED_IP_ADDRESS,
    NAS_IDENTIFIER,
    NAS_IP_ADDRESS,
    USER_NAME,
)
from protocol.radius.packet import Packet

MIKROTIK = frozenset(attribute.key for attribute in vendor_profiles()["mikrotik"].names_session)
NAS = NasProfile("bras", names_session=frozenset(key for key in MIKROTIK if isinstance(key, int)))


def packet(user: str = "joe") -> Packet:
    made = Packet(4, 1).add(ACCT_SESSION_TIME, 60).add(USER_NAME, user).add(NAS_IP_ADDRESS, IPv4Address("10.9.9.9"))
    return made.add(ACCT_SESSION_ID, "81/+=a").add(FRAMED_IP_ADDRESS, IPv4Address("100.64.0.7"))


def test_what_names_the_session_is_kept_and_nothing_else() -> None:
    kept = bytes.fromhex(identification_of(packet(), NAS))
    wanted = USER_NAME.pack("joe") + NAS_IP_ADDRESS.pack(IPv4Address("10.9.9.9")) + ACCT_SESSION_ID.pack("81/+=a")
    assert kept == wanted + FRAMED_IP_ADDRESS.pack(IPv4Address("100.64.0.7"))


def test_what_is_too_long_to_be_kept_is_not_kept_in_part() -> None:
    long = packet("j" * 250).add(NAS_IDENTIFIER, "n" * 250)
    assert len(long.encode()) > IDENTIFICATION_MAX
    assert identification_of(long, NAS) == ""


def test_a_client_takes_coa_where_its_block_says_or_at_port_3799_of_its_address() -> None:
    blocks = (
        '{address="10.0.0.0/8", secret="x", profile="mikrotik"}',
        '{address="10.1.0.0/16", secret="y", coa="10.1.0.1:1700"}',
    )
    clients = NasClients(load(overrides=[f"radius.clients=[{', '.join(blocks)}]"], environ={}).radius)
    near, far = clients.of("10.1.2.3"), clients.of("10.2.2.3")
    assert near is not None
    assert far is not None
    assert (near.listens("10.1.2.3"), near.vendor.name) == (("10.1.0.1", 1700), "generic")
    assert (far.listens("10.2.2.3"), far.vendor.name) == (("10.2.2.3", 3799), "mikrotik")
    assert far.listens("::ffff:10.2.2.3") == ("10.2.2.3", 3799)
