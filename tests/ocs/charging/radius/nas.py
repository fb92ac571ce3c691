"""A NAS by hand: Accounting-Requests as octets, through the whole path to the readable model of the store."""

from __future__ import annotations

from typing import Any

import pytest

from ocs.charging.handle import handle
from ocs.charging.radius.accounting import to_charging
from ocs.charging.radius.nas import NasProfile
from ocs.charging.request import ChargingAnswer
from protocol.radius.authenticator import signed_request
from protocol.radius.codes import PacketCode
from protocol.radius.dictionary import ATTRIBUTES
from protocol.radius.dictionary.standard import USER_PASSWORD
from protocol.radius.dictionary.values import AcctStatusType
from protocol.radius.hidden import hide_password
from protocol.radius.packet import Packet
from tests.ocs.charging.world import NOW_MS, World

SECRET = b"testing123"
USER = "491700000001"


def accounting(status: AcctStatusType | int, session: str = "s1", **attributes: Any) -> Packet:
    """Names as the dictionary has them, with _ for -; None takes one away."""
    packet = Packet(PacketCode.ACCOUNTING_REQUEST, 1)
    given = {"User_Name": USER, "NAS_Identifier": "bras1", "Acct_Session_Id": session} | attributes
    for name, value in ({"Acct_Status_Type": int(status)} | given).items():
        if value is not None:
            packet.add(ATTRIBUTES[name], value)
    return Packet.decode(signed_request(packet, SECRET, sign=False))


def access(password: str = "demo", identifier: int = 1, **attributes: Any) -> Packet:
    """An Access-Request by PAP."""
    authenticator = bytes([identifier]) * 16
    packet = Packet(PacketCode.ACCESS_REQUEST, identifier, authenticator)
    given = {"User_Name": USER, "NAS_Identifier": "bras1", "NAS_Port": 7, "Calling_Station_Id": "00:11:22:33:44:55"}
    for name, value in (given | attributes).items():
        packet.add(ATTRIBUTES[name], value)
    packet.add(USER_PASSWORD, hide_password(password.encode(), SECRET, authenticator))
    return Packet.decode(signed_request(packet, SECRET))


class Bras:
    """One client. `at` are seconds after the start of the world, by its own clock; it sends when our clock says so."""

    def __init__(self, world: World | None = None, **profile: Any) -> None:
        self.world = world or World()
        if world is None:
            self.world.subscriber(f"username:{USER}")
        self.nas = NasProfile("bras", **profile)

    def send(self, packet: Packet, at_s: int = 0) -> ChargingAnswer:
        world = self.world
        world.now_ms = max(world.now_ms, NOW_MS + at_s * 1_000)
        request = to_charging(packet, self.nas, "10.0.0.1", world.now_ms, world.context.settings)
        with pytest.raises(StopIteration) as stopped:  # everything is ready: it waits for nothing
            handle(request, world.context, world.now_ms).send(None)
        answer = stopped.value.value
        assert isinstance(answer, ChargingAnswer), answer
        return answer

    def start(self, at_s: int = 0, **attributes: Any) -> ChargingAnswer:
        return self.send(accounting(AcctStatusType.START, **attributes), at_s)

    def interim(self, at_s: int, octets: tuple[int, int] = (0, 0), **attributes: Any) -> ChargingAnswer:
        return self.send(accounting(AcctStatusType.INTERIM_UPDATE, **shown(at_s, octets), **attributes), at_s)

    def stop(self, at_s: int, octets: tuple[int, int] = (0, 0), **attributes: Any) -> ChargingAnswer:
        return self.send(accounting(AcctStatusType.STOP, **shown(at_s, octets), **attributes), at_s)


def shown(lasted_s: int, octets: tuple[int, int]) -> dict[str, Any]:
    found: dict[str, Any] = {"Acct_Session_Time": lasted_s}
    for name, value in zip(("Input", "Output"), octets, strict=True):
        found[f"Acct_{name}_Octets"] = value % 2**32
        if value >= 2**32:
            found[f"Acct_{name}_Gigawords"] = value // 2**32
    return found
