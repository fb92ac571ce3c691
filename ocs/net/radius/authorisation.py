"""Access-Requests: who it is, what the balance allows, and a hold until the session begins (charging.md section 8)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Final

from balances import keys
from balances.packing import ACCOUNT_FIELD, unpack_account, unpack_session
from balances.redis.calls import Lost, NotSent
from balances.redis.pending import SlowPath
from balances.structs.charge import Charge, Result
from ocs.charging.handle import ChargingContext, handle
from ocs.charging.login_hours import hours_left_s
from ocs.charging.outcomes import OUTCOMES
from ocs.charging.profile import Profile
from ocs.charging.radius.affordable import ENDLESS, Affordable, affordable
from ocs.charging.radius.authorisation import (
    accepted,
    let_into_the_garden,
    refusal_of,
    said,
    stays_in_the_garden,
    to_continue,
    to_hold,
)
from ocs.charging.radius.call_answers import ReturnCode, login_refusal
from ocs.charging.radius.calls import VOICE, call_name
from ocs.charging.radius.credentials import LoginMethod, method_of
from ocs.charging.radius.identities import identities_at
from ocs.charging.radius.names import SessionReference, client_name, port_digest
from ocs.charging.radius.own_attributes import GRADE, LeftOut, own_of, own_seconds, told_of
from ocs.charging.radius.proofs import HomeProof, LoginProof, PasswordProof
from ocs.charging.request import Busy, ChargingAnswer, ChargingRequest
from ocs.charging.services import UNKNOWN, Service
from ocs.master.passwords import HASHED
from ocs.master.sealing import CannotOpen
from ocs.net.radius.admittance import (
    WORDS,
    Admittance,
    AdmittanceCheck,
    may_log_in_at,
    replaces_others,
    sessions_max,
)
from ocs.net.radius.calls import CallAuthorisation
from ocs.net.radius.clients import NasClient
from ocs.net.radius.exchange import Arrived, RadiusReply, both
from ocs.net.radius.home_pool import HomePool, TooManyRelayed
from ocs.net.radius.password_check import HashedOnly, PasswordCheck, TooManyHashes
from ocs.net.radius.ports import Ports, PortStore
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.standard import USER_NAME
from protocol.radius.packet import Packet
from protocol.radius.proxy import renamed
from protocol.radius.vendor import attribute_octets

UNPROVEN: Final = (LoginMethod.NONE, LoginMethod.EAP)


class Login(Enum):
    """How an attempt to log in ended, as it is counted."""

    KNOWN = "known"
    WRONG_PASSWORD = "wrong-password"
    NO_PASSWORD = "no-password"
    """The subscriber has none, or the packet brings none that is understood."""
    HASHED = "hashed"
    """The method needs the password itself, and only a hash of it is kept."""
    NOT_OPENED = "not-opened"
    """It was sealed by a key that is not here."""


WRONG: Final = "wrong user name or password"
"""Nobody is told which of the two."""
UNKNOWN_USER: Final = "unknown"
PLACES_SOUGHT: Final = 3
"""So often a login tries to take the place of other sessions, while others do the same."""
HOME_SAID: Final = {PacketCode.ACCESS_CHALLENGE: "challenge", PacketCode.ACCESS_REJECT: "home-refused"}
"""How what a home server says is counted."""


class Authorisation:
    """
    homes:    who authenticates EAP logins; None, or without servers: nobody
    mark:     counts what was unusual about a request of a client
    silence:  counts why there is no answer
    left_out: counts what a client could not be told of a subscriber
    """

    def __init__(
        self,
        context: ChargingContext,
        store: PortStore,
        ports: Ports,
        passwords: PasswordCheck,
        *,
        homes: HomePool | None = None,
        mark: Callable[[NasClient, int], None],
        silence: Callable[[str], None],
        left_out: Callable[[NasClient, LeftOut], None],
    ) -> None:
        self._homes, self._left_out = homes, left_out
        self._context, self._ports, self._passwords = context, ports, passwords
        self._command = store.link.command
        self._mark, self._silence = mark, silence
        self._calls = CallAuthorisation(context, self._command, self._charged)
        self._admittance = AdmittanceCheck(self._command)

    def within(self, context: ChargingContext, silence: Callable[[str], None]) -> Authorisation:
        """The same with another context, and with somebody else who is told of silence too."""
        other = copy.copy(self)
        other._context, other._silence = context, both(self._silence, silence)
        other._calls = CallAuthorisation(context, self._command, other._charged)
        return other

    async def serve(self, arrived: Arrived) -> RadiusReply | None:
        try:
            return await self._answer(arrived)
        except NotSent:
            self._silence("the store is away")
        except Lost:
            self._silence("fate unknown")
        except TooManyHashes:
            self._silence("too many passwords to compare")
        except TooManyRelayed:
            self._silence("too many wait for home servers")
        return None

    async def _answer(self, arrived: Arrived) -> RadiusReply | None:
        packet, client = arrived.packet, arrived.client
        if self._homes and client.profile.service != VOICE and method_of(packet) is LoginMethod.EAP:
            return await self._relayed(arrived, self._homes)
        identities = identities_at(packet, client.profile)
        # Not the one at hand: a password that was changed counts at once.
        profile = await self._paid(identities, client)
        if profile is None:
            return RadiusReply(
                PacketCode.ACCESS_REJECT,
                UNKNOWN_USER,
                login_refusal(client.profile, ReturnCode.INVALID_ACCOUNT) + said(WRONG),
            )
        login, attributes = await self._login(arrived, profile)
        if login is not Login.KNOWN:
            return RadiusReply(
                PacketCode.ACCESS_REJECT,
                login.value,
                login_refusal(client.profile, ReturnCode.INVALID_PASSWORD) + attributes + said(WRONG),
            )
        proof = PasswordProof(attributes)
        if client.profile.service == VOICE:
            service = self._service_of(client)
            admittance = await self._admittance.of_caller(profile, client, service, call_name(packet, client.profile))
            if admittance is not Admittance.GRANTED:
                return refused_admittance(client, admittance, proof)
            return await self._calls.answer(arrived, profile, attributes, sessions_max(profile, service))
        return await self._let_in(arrived, profile, proof)

    async def _relayed(self, arrived: Arrived, homes: HomePool) -> RadiusReply | None:
        """Who proves himself to a home server: until it lets him in, what it says is passed on."""
        packet, client = arrived.packet, arrived.client
        said_there = await SlowPath(homes.ask(packet, client.secret))
        if said_there is None:
            self._silence("home servers are silent")
            return None
        if said_there.code is not PacketCode.ACCESS_ACCEPT:
            body = b"".join(attribute_octets(*pair) for pair in said_there.attributes)
            return RadiusReply(said_there.code, HOME_SAID.get(said_there.code, "home-other"), body)
        proof = HomeProof(said_there.attributes)
        if proof.user:
            packet = renamed(packet, proof.user)
        identities = identities_at(packet, client.profile)
        profile = await self._paid(identities, client)
        if profile is None:
            return RadiusReply(PacketCode.ACCESS_REJECT, UNKNOWN_USER, proof.with_reject(WRONG))
        user = proof.user if proof.user != arrived.packet.get(USER_NAME) else ""
        return await self._let_in(arrived._replace(packet=packet), profile, proof, user)

    async def _let_in(
        self, arrived: Arrived, profile: Profile, proof: LoginProof, user: str = ""
    ) -> RadiusReply | None:
        """Of somebody who is known: what the balance allows, and a hold for it.

        user:  what Class has to say, since the NAS does not know it
        """
        packet, client = arrived.packet, arrived.client
        reference, session = await self._ports.reference(port_digest(client.profile, packet))
        nas = client_name(client.profile, packet)
        if session and not await self._ports.is_open(session, profile.account, nas, arrived.at_ms):
            reference, session = self._ports.fresh(reference.port), ""
        reference = reference._replace(user=user)
        if not may_log_in_at(profile, client.profile.group):
            return refused_admittance(client, Admittance.WRONG_NAS, proof)
        service = self._service_of(client)
        hours_s = hours_left_s(profile, service.login_hours, arrived.at_ms)
        if hours_s == 0:
            return refused_admittance(client, Admittance.OUTSIDE_HOURS, proof)
        own = own_of(profile.attributes, service)
        ends_s = min((one for one in (hours_s, own_seconds(own)) if one is not None), default=None)
        by, at_ms = (arrived.source[0], arrived.at_ms)
        if session:
            going_on = to_continue(packet, client.profile, session, reference, by, at_ms)
            answer, left = await self._held(going_on, at_ms, client)
            if answer is not None and answer.result is Result.OK:
                return self._told(answer, left, ends_s, own, reference, client, proof)
        answer, left = await self._placed(packet, client, profile, reference, by, at_ms)
        if answer is None:
            return None
        if answer.result is Result.TOO_MANY_SESSIONS:
            return refused_admittance(client, Admittance.TOO_MANY_SESSIONS, proof)
        await self._ports.authorised(reference)
        return self._told(answer, left, ends_s, own, reference, client, proof)

    async def _placed(
        self, packet: Packet, client: NasClient, profile: Profile, reference: SessionReference, by: str, at_ms: int
    ) -> tuple[ChargingAnswer | None, Affordable]:
        """What is held for a session that is expected, if it may be one more: the store decides that in the same call.
        As `_held` answers."""
        service = self._service_of(client)
        most = sessions_max(profile, service)
        hold = to_hold(packet, client.profile, reference, by, at_ms, most)
        answer, left = await self._held(hold, at_ms, client)
        if most is None or not replaces_others(profile, service):
            return answer, left
        for _ in range(PLACES_SOUGHT):
            if answer is None or answer.result is not Result.TOO_MANY_SESSIONS:
                break
            replaces = await self._admittance.in_its_way(profile, service, reference.hold, most)
            if not replaces:
                break
            hold = to_hold(packet, client.profile, reference, by, at_ms, most, replaces)
            answer, left = await self._held(hold, at_ms, client)
        return answer, left

    async def _paid(self, identities: Sequence[str], client: NasClient) -> Profile | None:
        """Who it is, with the account that pays for the service of this client; None: nobody known."""
        profile = await self._context.profiles.load(identities) if identities else None
        return profile and profile.paid_for(client.profile.service)

    def _service_of(self, client: NasClient) -> Service:
        return self._context.settings.services.by_name.get(client.profile.service, UNKNOWN)

    async def _login(self, arrived: Arrived, profile: Profile) -> tuple[Login, bytes]:
        """How it ended, and the attributes that the method has in the answer."""
        packet, check = arrived.packet, self._passwords.check
        method = method_of(packet)
        if not profile.password and arrived.client.profile.passwordless and method is not LoginMethod.EAP:
            return Login.KNOWN, b""
        if method in UNPROVEN or not profile.password:
            return Login.NO_PASSWORD, b""
        checking = check(packet, method, arrived.client.secret, profile.subscriber, profile.password)
        try:
            # A hash is compared in a thread; what is sealed is there at once.
            is_hashed = profile.password.partition("$")[0] == HASHED
            verdict = await (SlowPath(checking) if is_hashed else checking)
        except HashedOnly:
            return Login.HASHED, self._passwords.refusal(packet, method)
        except CannotOpen:
            return Login.NOT_OPENED, self._passwords.refusal(packet, method)
        return Login.KNOWN if verdict.ok else Login.WRONG_PASSWORD, verdict.attributes

    async def _charged(
        self, request: ChargingRequest, at_ms: int, client: NasClient, charged: list[Charge] | None = None
    ) -> ChargingAnswer | None:
        """The answer. None: nobody knows what became of it.

        charged:  what the store was called with is added to it
        """
        answer = await handle(request, self._context, at_ms, charged=charged)
        if answer is None or isinstance(answer, Busy):
            self._silence("fate unknown" if answer is None else "not charged")
            return None
        if answer.marks:
            self._mark(client, answer.marks)
        return answer

    async def _held(
        self, request: ChargingRequest, at_ms: int, client: NasClient
    ) -> tuple[ChargingAnswer | None, Affordable]:
        """The answer, and how much more can be paid for. None: nobody knows what became of it."""
        charged: list[Charge] = []
        answer = await self._charged(request, at_ms, client, charged)
        if answer is None:
            return None, ENDLESS
        return answer, await self._left(*charged) if charged else ENDLESS

    async def _left(self, charge: Charge) -> Affordable:
        packed, stored = await self._command("HMGET", keys.account(charge.account), ACCOUNT_FIELD, charge.session)
        if packed is None:
            return ENDLESS
        return affordable(charge, unpack_account(packed), unpack_session(stored) if stored else None)

    def _told(
        self,
        answer: ChargingAnswer,
        left: Affordable,
        ends_s: int | None,
        own: Mapping[str, str],
        reference: SessionReference,
        client: NasClient,
        proof: LoginProof,
    ) -> RadiusReply:
        """
        ends_s:  the session ends then, whatever can be paid for
        own:     what the subscriber has of its own
        """
        why = refusal_of(answer)
        if why is not None:
            return refused(why, proof)
        to = (reference, client.profile, client.vendor, self._service_of(client))
        stays_s = stays_in_the_garden(answer)
        if stays_s is None:
            grade = next((line.grade for line in answer.lines if line.grade), own.get(GRADE, ""))
            body, result = accepted(*to, grade, left.within(ends_s)), "ok"
        else:
            body = let_into_the_garden(*to, stays_s if ends_s is None else min(stays_s, ends_s))
            if not body:
                return refused(Result.CREDIT_LIMIT, proof)
            result = "walled-garden"
        left_out: list[LeftOut] = []
        body += told_of(client.vendor, own, body, "login", "subscriber", left_out=left_out)
        for one in left_out:
            self._left_out(client, one)
        return RadiusReply(PacketCode.ACCESS_ACCEPT, result, proof.with_accept(body))


def refused(why: Result, proof: LoginProof) -> RadiusReply:
    words = proof.with_reject(OUTCOMES[why].words)
    return RadiusReply(PacketCode.ACCESS_REJECT, why.name.lower().replace("_", "-"), words)


def refused_admittance(client: NasClient, why: Admittance, proof: LoginProof) -> RadiusReply:
    code = ReturnCode.IN_USE if why is Admittance.TOO_MANY_SESSIONS else ReturnCode.DENIED
    body = login_refusal(client.profile, code) + proof.with_reject(WORDS[why])
    return RadiusReply(PacketCode.ACCESS_REJECT, why.value, body)
