"""The right password is right, by each method, and no other is; what the answer proves is what a client expects."""

import asyncio
from typing import Any

import pytest

from ocs.charging.radius.credentials import LoginMethod, judge_password, method_of, refusal_of
from ocs.master.passwords import StoredPasswords
from ocs.master.sealing import Sealing
from ocs.net.radius import password_check
from ocs.net.radius.password_check import HashedOnly, PasswordCheck, TooManyHashes
from protocol.radius.chap import chap_response
from protocol.radius.dictionary.microsoft import (
    MS_CHAP2_RESPONSE,
    MS_CHAP2_SUCCESS,
    MS_CHAP_CHALLENGE,
    MS_CHAP_RESPONSE,
    MS_MPPE_RECV_KEY,
    MS_MPPE_SEND_KEY,
)
from protocol.radius.dictionary.standard import CHAP_CHALLENGE, CHAP_PASSWORD, EAP_MESSAGE, USER_NAME, USER_PASSWORD
from protocol.radius.hidden import hide_password, revealed
from protocol.radius.mschap import authenticator_response, challenge_hash, challenge_response, mppe_keys, nt_hash
from protocol.radius.packet import Packet
from protocol.radius.refused import RadiusError

SECRET, PASSWORD, AUTHENTICATOR = b"testing123", "pässword", bytes(range(16))
RANDOM = bytes(range(100, 118))
METHODS = ("pap", "chap", "chap-by-authenticator", "mschap", "mschap2")


def login(method: str, password: str = PASSWORD, secret: bytes = SECRET) -> Packet:
    """An Access-Request as a NAS makes it for who types this."""
    packet = Packet(1, 7, AUTHENTICATOR).add(USER_NAME, "DOMAIN\\joe")
    typed, challenge = password.encode(), bytes(range(50, 66))
    match method:
        case "pap":
            packet.add(USER_PASSWORD, hide_password(typed, secret, AUTHENTICATOR))
        case "chap":
            packet.add(CHAP_CHALLENGE, challenge).add(CHAP_PASSWORD, chap_response(9, typed, challenge))
        case "chap-by-authenticator":
            packet.add(CHAP_PASSWORD, chap_response(9, typed, AUTHENTICATOR))
        case "mschap":
            response = bytes((9, 1)) + bytes(24) + challenge_response(challenge[:8], nt_hash(password))
            packet.add(MS_CHAP_CHALLENGE, challenge[:8]).add(MS_CHAP_RESPONSE, response)
        case "mschap2":
            peer = bytes(range(200, 216))
            hashed = challenge_hash(peer, challenge, b"joe")
            response = bytes((200, 0)) + peer + bytes(8) + challenge_response(hashed, nt_hash(password))
            packet.add(MS_CHAP_CHALLENGE, challenge).add(MS_CHAP2_RESPONSE, response)
    return packet


def answer(attributes: bytes) -> Packet:
    return Packet.decode(b"\2\7" + (20 + len(attributes)).to_bytes(2) + AUTHENTICATOR + attributes)


@pytest.mark.parametrize("method", METHODS)
def test_the_right_password_is_right_and_no_other_is(method: str) -> None:
    packet = login(method)
    found = method_of(packet)
    assert judge_password(packet, found, SECRET, PASSWORD, RANDOM).ok
    for other in (PASSWORD + "x", PASSWORD[:-1], "", PASSWORD.upper()):
        assert not judge_password(packet, found, SECRET, other, RANDOM).ok


def test_a_wrong_secret_is_a_wrong_password_and_no_error() -> None:
    for seed in range(50):
        packet = login("pap", secret=b"other%d" % seed)
        assert not judge_password(packet, LoginMethod.PAP, SECRET, PASSWORD, RANDOM).ok


def test_mschap2_proves_that_we_know_it_too_and_gives_keys() -> None:
    packet = login("mschap2")
    sent = answer(judge_password(packet, LoginMethod.MSCHAP2, SECRET, PASSWORD, RANDOM).attributes)
    hashed, response = nt_hash(PASSWORD), packet.get(MS_CHAP2_RESPONSE)
    assert response is not None
    nt_response = response[26:]
    challenge = challenge_hash(response[2:18], bytes(range(50, 66)), b"joe")
    assert sent.get(MS_CHAP2_SUCCESS) == bytes((200,)) + authenticator_response(hashed, nt_response, challenge)
    send, recv = mppe_keys(hashed, nt_response)
    assert revealed(sent, MS_MPPE_SEND_KEY, SECRET, AUTHENTICATOR) == send
    assert revealed(sent, MS_MPPE_RECV_KEY, SECRET, AUTHENTICATOR) == recv
    salts = [sent.raw(one)[0][:2] for one in (MS_MPPE_SEND_KEY, MS_MPPE_RECV_KEY)]
    assert salts[0] != salts[1]
    assert all(salt[0] & 0x80 for salt in salts)


@pytest.mark.parametrize("method", ["mschap", "mschap2"])
def test_a_refusal_says_why_in_the_words_of_the_method(method: str) -> None:
    packet = login(method)
    verdict = judge_password(packet, method_of(packet), SECRET, "other", RANDOM)
    identifier = 9 if method == "mschap" else 200
    text = verdict.attributes[8:]
    assert text[0] == identifier
    assert text[1:].startswith(b"E=691 R=0 C=" + RANDOM[:16].hex().upper().encode() + b" V=3 M=")
    assert refusal_of(packet, method_of(packet), RANDOM)[9:].startswith(b"E=647 ")
    assert refusal_of(login("pap"), LoginMethod.PAP, RANDOM) == b""


def test_two_methods_at_once_are_refused() -> None:
    packet = login("pap").add(CHAP_PASSWORD, chap_response(9, b"x", AUTHENTICATOR))
    with pytest.raises(RadiusError, match="pap and chap in one packet"):
        method_of(packet)


def test_eap_and_no_password_are_told_apart() -> None:
    assert method_of(Packet(1, 7).add(EAP_MESSAGE, b"\2\0\0\4")) is LoginMethod.EAP
    assert method_of(Packet(1, 7).add(USER_NAME, "joe")) is LoginMethod.NONE


@pytest.mark.parametrize("octets", [b"\3\5abc", b"\2\7abcde", b"\2\2"], ids=["chap", "pap", "empty"])
def test_a_value_of_impossible_length_is_dropped_and_no_exception_of_another_kind(octets: bytes) -> None:
    packet = Packet.decode(b"\1\7" + (20 + len(octets)).to_bytes(2) + AUTHENTICATOR + octets)
    with pytest.raises(RadiusError):
        judge_password(packet, method_of(packet), SECRET, PASSWORD, RANDOM)


# --- with what is kept


class Slow(StoredPasswords):
    """Counts comparisons, and waits until it may go on."""

    def __init__(self) -> None:
        super().__init__(None)
        self.compared = 0

    def matches(self, stored: str, subscriber: str, password: str) -> bool:
        self.compared += 1
        return super().matches(stored, subscriber, password)


@pytest.mark.parametrize("method", METHODS)
async def test_a_sealed_password_serves_every_method(method: str) -> None:
    passwords = StoredPasswords(Sealing([bytes(32)]))
    check, packet = PasswordCheck(passwords, lambda: 0.0), login(method)
    stored = passwords.stored(PASSWORD, "anna")
    assert (await check.check(packet, method_of(packet), SECRET, "anna", stored)).ok
    other = passwords.stored("other", "anna")
    assert not (await check.check(packet, method_of(packet), SECRET, "anna", other)).ok


async def test_a_hash_serves_pap_and_says_so_of_the_others() -> None:
    passwords = Slow()
    check, stored = PasswordCheck(passwords, lambda: 0.0), passwords.stored(PASSWORD, "anna")
    assert (await check.check(login("pap"), LoginMethod.PAP, SECRET, "anna", stored)).ok
    for method in ("chap", "mschap", "mschap2"):
        packet = login(method)
        with pytest.raises(HashedOnly):
            await check.check(packet, method_of(packet), SECRET, "anna", stored)


async def test_who_logs_in_again_costs_no_hash_and_a_wrong_one_is_never_remembered() -> None:
    passwords, now_s = Slow(), [0.0]
    check, stored = PasswordCheck(passwords, lambda: now_s[0]), passwords.stored(PASSWORD, "anna")

    async def pap(typed: str, subscriber: str = "anna", kept: str = stored) -> bool:
        return (await check.check(login("pap", typed), LoginMethod.PAP, SECRET, subscriber, kept)).ok

    assert await pap(PASSWORD)
    assert await pap(PASSWORD)
    assert passwords.compared == 1
    assert not await pap("wrong")
    assert not await pap("wrong")
    assert passwords.compared == 3
    changed = passwords.stored("new", "anna")
    assert not await pap(PASSWORD, kept=changed), "a changed password is asked about anew"
    now_s[0] = password_check.REMEMBERED_S + 1
    assert await pap(PASSWORD)
    assert passwords.compared == 5


async def test_no_more_wait_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password_check, "WAITING_MAX", 2)
    passwords = StoredPasswords(None)
    check, stored = PasswordCheck(passwords, lambda: 0.0), passwords.stored(PASSWORD, "anna")
    asked: list[Any] = [
        check.check(login("pap", f"{number}"), LoginMethod.PAP, SECRET, "anna", stored) for number in range(5)
    ]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(one, TooManyHashes) for one in found) == 3
    assert sum(one == (False, b"") for one in found) == 2
