"""Access-Requests of voice gateways: who calls, and then where to (docs/radius.md). What is told of a call is held."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from balances import keys
from balances.packing import ACCOUNT_FIELD, unpack_account, unpack_session
from balances.redis.pending import Pending
from balances.structs.account import Account
from balances.structs.charge import Result
from balances.structs.session import SessionState
from ocs.charging.handle import ChargingContext
from ocs.charging.profile import Profile
from ocs.charging.radius.authorisation import refusal_of
from ocs.charging.radius.call_answers import (
    CALLER_WORDS,
    ReturnCode,
    call_attributes,
    caller_attributes,
    refusal,
    refusal_of_caller,
    refused_call,
)
from ocs.charging.radius.calls import call_name, to_call
from ocs.charging.radius.names import SessionReference, port_digest
from ocs.charging.radius.vendor_profile import TIMEOUT_MAX
from ocs.charging.request import ChargingAnswer, ChargingRequest
from ocs.charging.services import UNKNOWN, Service
from ocs.net.radius.clients import NasClient
from ocs.net.radius.exchange import Arrived, RadiusReply
from ocs.net.radius.ports import TOKEN_BYTES
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary.standard import CALLED_STATION_ID

COUNTED: Final = {
    ReturnCode.DENIED: "denied",
    ReturnCode.ZERO_BALANCE: "credit-limit",
    ReturnCode.IN_USE: "in-use",
}
"""How a refusal of a caller is counted."""

RequestCharged = Callable[[ChargingRequest, int, NasClient], Awaitable[ChargingAnswer | None]]


class CallAuthorisation:
    """
    command:  asks the live store
    charged:  charges a request; None: nobody knows what became of it, and there is no answer
    """

    def __init__(self, context: ChargingContext, command: Callable[..., Pending[Any]], charged: RequestCharged) -> None:
        self._context, self._command, self._charged = context, command, charged

    async def answer(
        self, arrived: Arrived, caller: Profile, proof: bytes, calls_max: int | None
    ) -> RadiusReply | None:
        """Of a caller who is known.

        proof:      what the method of the password has in an Access-Accept
        calls_max:  so many calls he may have at once; None: as many as there are
        """
        client, now_ms = arrived.client, arrived.at_ms
        service = self._context.settings.services.by_name.get(client.profile.service, UNKNOWN)
        account = await self._account(caller)
        if account is None:
            return None
        if arrived.packet.get(CALLED_STATION_ID):
            return await self._call(arrived, account, service, proof, calls_max)
        why = ReturnCode.DENIED if caller.barred else refusal_of_caller(account, service.name, now_ms)
        if why is not ReturnCode.OK:
            return RadiusReply(PacketCode.ACCESS_REJECT, COUNTED[why], refusal(why, CALLER_WORDS[why]))
        body = caller_attributes(account, service.name, now_ms)
        return RadiusReply(PacketCode.ACCESS_ACCEPT, "ok", body + proof)

    async def _call(
        self, arrived: Arrived, account: Account, service: Service, proof: bytes, calls_max: int | None
    ) -> RadiusReply | None:
        """It is told how long it may last; so long is held for it."""
        packet, client, now_ms = arrived.packet, arrived.client, arrived.at_ms
        token = await self._token(account.id, call_name(packet, client.profile))
        reference = SessionReference(port_digest(client.profile, packet), token)
        request = to_call(packet, client.profile, service, reference, arrived.source[0], now_ms)
        request = msgspec.structs.replace(request, sessions_max=calls_max)
        answer = await self._charged(request, now_ms, client)
        if answer is None:
            return None
        why = refusal_of(answer)
        if why is not None:
            return RadiusReply(PacketCode.ACCESS_REJECT, why.name.lower().replace("_", "-"), refused_call(why))
        granted = [line.granted.seconds for line in answer.lines if line.granted is not None and line.granted.seconds]
        if not granted and any(line.result is Result.OK and line.granted is None for line in answer.lines):
            no_credit = Result.CREDIT_LIMIT  # a final action is left, and a call has none
            return RadiusReply(PacketCode.ACCESS_REJECT, "credit-limit", refused_call(no_credit))
        seconds = min(granted, default=service.seconds.maximum)
        body = caller_attributes(account, service.name, now_ms)
        body += call_attributes(client.vendor, reference.octets, min(seconds, TIMEOUT_MAX))
        return RadiusReply(PacketCode.ACCESS_ACCEPT, "ok", body + proof)

    async def _token(self, account: str, name: str) -> str:
        """What tells this call from the one before of the same name: while that is open it is the same call."""
        packed = await self._command("HGET", keys.account(account), keys.part(name)) if name else None
        session = unpack_session(packed) if packed else None
        if session is not None and session.state == SessionState.OPEN and session.token:
            return session.token
        return secrets.token_hex(TOKEN_BYTES)

    async def _account(self, caller: Profile) -> Account | None:
        """With the buckets that may pay for him; None: it is in quarantine."""
        for _ in range(2):
            (packed,) = await self._command("HMGET", keys.account(caller.account), ACCOUNT_FIELD)
            if packed is not None:
                account = unpack_account(packed)
                account.buckets = [one for one in account.buckets if one.member in ("", caller.subscriber)]
                return account
            await self._context.restore(caller.account)
        return None
