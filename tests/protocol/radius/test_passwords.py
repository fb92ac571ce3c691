"""User-Password, salted values, CHAP, MS-CHAP and what they stand on, against published vectors."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.radius.attribute import Attribute
from protocol.radius.chap import chap_response, is_chap_of
from protocol.radius.codes import PacketCode
from protocol.radius.des import des_encrypt
from protocol.radius.dictionary.microsoft import (
    MS_CHAP2_RESPONSE,
    MS_CHAP_CHALLENGE,
    MS_CHAP_RESPONSE,
    MS_MPPE_SEND_KEY,
)
from protocol.radius.dictionary.standard import (
    CHAP_CHALLENGE,
    CHAP_PASSWORD,
    TUNNEL_PASSWORD,
    USER_NAME,
    USER_PASSWORD,
)
from protocol.radius.hidden import (
    hidden,
    hide_password,
    hide_salted,
    reveal_password,
    reveal_salted,
    revealed,
)
from protocol.radius.md4 import md4
from protocol.radius.mschap import (
    MsChapErrorCode,
    authenticator_response,
    challenge_hash,
    challenge_response,
    is_mschap1_of,
    mppe_keys,
    mschap1_keys,
    mschap2_proof,
    mschap_error,
    nt_hash,
)
from protocol.radius.packet import Packet
from protocol.radius.refused import PacketFault, RadiusError
from protocol.radius.types import STRING
from tests.protocol.radius.golden import CRYPTO, PACKETS, secret
from tests.protocol.vectors import octets

SECRET, AUTHENTICATOR = b"xyzzy5461", bytes(range(16))


@pytest.mark.parametrize("vector", [i for i, v in PACKETS.items() if "decrypted_user_password" in v])
def test_user_password_of_the_vectors(vector: str) -> None:
    golden = PACKETS[vector]
    packet = Packet.decode(octets(golden))
    wanted = golden["decrypted_user_password"]
    password = bytes.fromhex(wanted["hex"]) if isinstance(wanted, dict) else wanted.encode()
    assert revealed(packet, USER_PASSWORD, secret(golden), packet.authenticator) == password
    assert hide_password(password, secret(golden), packet.authenticator) == packet.get(USER_PASSWORD)


@pytest.mark.parametrize("vector", [i for i, v in PACKETS.items() if "chap_password" in v])
def test_chap_of_the_vectors(vector: str) -> None:
    packet = Packet.decode(octets(PACKETS[vector]))
    password = PACKETS[vector]["chap_password"].encode()
    assert is_chap_of(packet, password)
    assert not is_chap_of(packet, password + b"x")


def test_chap_with_a_challenge_of_its_own() -> None:
    packet = Packet(PacketCode.ACCESS_REQUEST, 1, AUTHENTICATOR)
    packet.add(CHAP_PASSWORD, chap_response(7, b"pw", b"challenge")).add(CHAP_CHALLENGE, b"challenge")
    assert is_chap_of(packet, b"pw")
    for broken in (Packet(1), Packet(1).add(CHAP_PASSWORD, bytes(16))):
        with pytest.raises(RadiusError) as error:
            is_chap_of(broken, b"pw")
        assert error.value.reason == PacketFault.CREDENTIALS


@given(st.binary(max_size=128).filter(lambda plain: not plain.endswith(b"\0")), st.binary(max_size=40))
def test_user_password_comes_back(password: bytes, key: bytes) -> None:
    value = hide_password(password, key, AUTHENTICATOR)
    assert len(value) % 16 == 0
    assert 16 <= len(value) <= 128
    assert reveal_password(value, key, AUTHENTICATOR) == password


@given(st.binary(max_size=239), st.binary(max_size=40), st.binary(min_size=2, max_size=2))
def test_salted_values_come_back(plain: bytes, key: bytes, salt: bytes) -> None:
    salt = bytes((salt[0] | 0x80, salt[1]))
    value = hide_salted(plain, key, AUTHENTICATOR, salt)
    assert reveal_salted(value, key, AUTHENTICATOR) == plain
    packet = Packet(2).add(TUNNEL_PASSWORD, hidden(TUNNEL_PASSWORD, plain, key, AUTHENTICATOR, salt), tag=3)
    assert packet.tagged(TUNNEL_PASSWORD)[0][0] == 3
    assert revealed(packet, TUNNEL_PASSWORD, key, AUTHENTICATOR) == plain
    packet.add(MS_MPPE_SEND_KEY, hidden(MS_MPPE_SEND_KEY, plain, key, AUTHENTICATOR, salt))
    assert revealed(packet, MS_MPPE_SEND_KEY, key, AUTHENTICATOR) == plain


@given(st.binary(max_size=300))
def test_any_octets_are_revealed_or_refused(value: bytes) -> None:
    for reveal in (reveal_password, reveal_salted):
        try:
            reveal(value, SECRET, AUTHENTICATOR)
        except RadiusError:
            pass


def test_what_cannot_be_hidden() -> None:
    with pytest.raises(ValueError, match="129 octets"):
        hide_password(bytes(129), SECRET, AUTHENTICATOR)
    with pytest.raises(ValueError, match="240 octets"):
        hide_salted(bytes(240), SECRET, AUTHENTICATOR, b"\x80\0")
    with pytest.raises(ValueError, match="no salt"):
        hide_salted(b"x", SECRET, AUTHENTICATOR, b"\x7f\0")
    with pytest.raises(ValueError, match="not sent encrypted"):
        hidden(USER_NAME, b"x", SECRET, AUTHENTICATOR)
    with pytest.raises(ValueError, match="not sent encrypted"):
        revealed(Packet(2), Attribute("Ascend-Send-Secret", 214, STRING, encrypt=3), SECRET, AUTHENTICATOR)
    assert revealed(Packet(2), TUNNEL_PASSWORD, SECRET, AUTHENTICATOR) is None


RFC_1320 = {
    "": "31d6cfe0d16ae931b73c59d7e0c089c0",
    "a": "bde52cb31de33e46245e05fbdbd6fb24",
    "abc": "a448017aaf21d8525fc10ae87aa6729d",
    "message digest": "d9130a8164549fe818874806e1c7014b",
    "abcdefghijklmnopqrstuvwxyz": "d79e1c308aa5bbcdeea8ed63df412da9",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789": "043f8582f241db351ce627e153e7f0e4",
    "1234567890" * 8: "e33b4ddc9c38f2199c3e7b164fcc0536",
}


@pytest.mark.parametrize("text", RFC_1320, ids=lambda text: str(len(text)))
def test_md4(text: str) -> None:
    assert md4(text.encode()).hex() == RFC_1320[text]


def openssl(*arguments: str, data: bytes) -> bytes | None:
    """What the command makes of it, None where it or its legacy provider is not installed."""
    if shutil.which("openssl") is None:
        return None
    command = ["openssl", *arguments, "-provider", "legacy", "-provider", "default"]
    ran = subprocess.run(command, input=data, capture_output=True, timeout=30, check=False)
    return ran.stdout if ran.returncode == 0 else None


@pytest.mark.parametrize("size", [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 500])
def test_md4_as_openssl_has_it(size: int) -> None:
    data = bytes(value % 251 for value in range(size))
    theirs = openssl("dgst", "-md4", "-binary", data=data)
    if theirs is None:
        pytest.skip("no openssl with its legacy provider")
    assert md4(data) == theirs


def test_des_of_a_textbook() -> None:
    key, block = bytes.fromhex("133457799BBCDFF1"), bytes.fromhex("0123456789ABCDEF")
    assert des_encrypt(key, block).hex() == "85e813540f0ab405"
    assert des_encrypt(bytes(value ^ 1 for value in key), block).hex() == "85e813540f0ab405"  # parity


def test_des_as_openssl_has_it() -> None:
    for seed in range(12):
        key, block = nt_hash(f"k{seed}")[:8], nt_hash(f"b{seed}")[8:]
        theirs = openssl("enc", "-des-ecb", "-nopad", "-K", key.hex(), data=block)
        if theirs is None:
            pytest.skip("no openssl with its legacy provider")
        assert des_encrypt(key, block) == theirs


@pytest.mark.parametrize("vector", CRYPTO)
def test_mschap2_of_the_vectors(vector: str) -> None:
    given_, expect = CRYPTO[vector]["inputs"], CRYPTO[vector]["expect"]
    name = given_["username"].encode()
    assert given_["password"].encode("utf-16-le").hex() == expect["password_utf16le"]
    own, peer = bytes.fromhex(given_["authenticator_challenge"]), bytes.fromhex(given_["peer_challenge"])
    hashed, challenge = nt_hash(given_["password"]), challenge_hash(peer, own, name)
    assert hashed.hex() == expect["password_hash"]
    assert md4(hashed).hex() == expect["password_hash_hash"]
    assert challenge.hex() == expect["challenge"]
    response = challenge_response(challenge, hashed)
    assert response.hex() == expect["nt_response"]
    assert authenticator_response(hashed, response, challenge).decode() == expect["authenticator_response"]

    packet = Packet(PacketCode.ACCESS_REQUEST, 1, AUTHENTICATOR).add(USER_NAME, "REALM\\User")
    packet.add(MS_CHAP_CHALLENGE, own).add(MS_CHAP2_RESPONSE, b"\x05\0" + peer + bytes(8) + response)
    proof = mschap2_proof(packet, hashed)
    assert proof is not None
    assert proof.success == b"\x05" + expect["authenticator_response"].encode()
    assert mschap2_proof(packet, nt_hash("other")) is None
    # RFC 3079 section 3.5.3
    assert mppe_keys(hashed, response)[0].hex() == "8b7cdc149b993a1ba118cb153f56dccb"
    assert (proof.send_key, proof.recv_key) == mppe_keys(hashed, response)


def test_mschap1() -> None:
    """RFC 2433 appendix B.2."""
    challenge, hashed = bytes.fromhex("102db5df085d3041"), nt_hash("MyPw")
    assert hashed.hex() == "fc156af7edcd6c0edde3337d427f4eac"
    response = challenge_response(challenge, hashed)
    assert response.hex() == "4e9d3c8f9cfd385d5bf4d3246791956ca4c351ab409a3d61"
    packet = Packet(1).add(MS_CHAP_CHALLENGE, challenge).add(MS_CHAP_RESPONSE, b"\x01\x01" + bytes(24) + response)
    assert is_mschap1_of(packet, hashed)
    assert not is_mschap1_of(packet, nt_hash("mypw"))
    lan_manager = Packet(1).add(MS_CHAP_CHALLENGE, challenge).add(MS_CHAP_RESPONSE, b"\x01\x00" + response + response)
    assert not is_mschap1_of(lan_manager, hashed)
    assert mschap1_keys(hashed)[8:] == md4(hashed)
    for broken in (Packet(1), Packet(1).add(MS_CHAP_CHALLENGE, b"short").add(MS_CHAP_RESPONSE, bytes(50))):
        with pytest.raises(RadiusError):
            is_mschap1_of(broken, hashed)
        with pytest.raises(RadiusError):
            mschap2_proof(broken, hashed)


def test_mschap_error() -> None:
    error = mschap_error(9, MsChapErrorCode.AUTHENTICATION_FAILURE, bytes(16), "no")
    assert error == b"\x09E=691 R=0 C=" + b"0" * 32 + b" V=3 M=no"
