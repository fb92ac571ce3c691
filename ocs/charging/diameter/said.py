"""Who and what a CCR is about, by the octets that say it.

Subscription-Id, Service-Information and the like are most of a CCR, are the same in all requests of a session, and are
dear to read. What they say is kept by their octets, whatever the session and the kind of request.
"""

from __future__ import annotations

from typing import Final

from ocs.charging.diameter.holes import Hole, avps, whole
from ocs.charging.diameter.translate import to_request
from ocs.charging.remembered import told_by
from ocs.charging.request_template import SaidBefore, StatedAbout
from ocs.charging.settings import ChargingSettings
from protocol.diameter.dictionary.base import ACCT_MULTI_SESSION_ID, USER_NAME
from protocol.diameter.dictionary.credit_control import CreditControlRequest
from protocol.diameter.dictionary.credit_values import (
    CC_CORRELATION_ID,
    SUBSCRIPTION_ID,
    SUBSCRIPTION_ID_EXTENSION,
    USER_EQUIPMENT_INFO,
    USER_EQUIPMENT_INFO_EXTENSION,
)
from protocol.diameter.dictionary.tgpp_charging import SERVICE_INFORMATION
from protocol.diameter.walk import Vendors
from protocol.errors import ProtocolError

ABOUT: Final = frozenset(
    avp.key
    for avp in (
        USER_NAME,
        ACCT_MULTI_SESSION_ID,
        SUBSCRIPTION_ID,
        SUBSCRIPTION_ID_EXTENSION,
        CC_CORRELATION_ID,
        USER_EQUIPMENT_INFO,
        USER_EQUIPMENT_INFO_EXTENSION,
        SERVICE_INFORMATION,
    )
)
"""AVPs of a CCR that say nothing but who and what it is about; so do those that a CCR has no place for."""
Context = tuple[object, ...]
"""What the reading of these octets depends on besides: which AVPs they are, service context, vendors passed over."""


def is_about(key: int) -> bool:
    return key in ABOUT or key not in CreditControlRequest.spec.by_key


def regions_of(frame: bytes) -> tuple[tuple[Hole, ...], tuple[int, ...]]:
    """Where these AVPs lie in a CCR that was judged, whole and next to each other as one; and their keys."""
    regions: list[Hole] = []
    keys = []
    for key, start, _, end in avps(frame, *whole(frame)):
        if is_about(key):
            end += -end & 3
            keys.append(key)
            if regions and regions[-1][1] == start:
                start = regions.pop()[0]
            regions.append((start, end))
    return tuple(regions), tuple(keys)


class SaidInCcrs(SaidBefore):
    """By the octets of these AVPs."""

    def read(
        self,
        context: Context,
        octets: tuple[bytes, ...],
        regions: tuple[tuple[Hole, ...], tuple[int, ...]],
        frame: bytes,
        ignored: Vendors,
        settings: ChargingSettings,
    ) -> StatedAbout | None:
        """Of a CCR that has been seen with other octets there; None: it is another one, or is refused."""
        if regions_of(frame) != regions:
            return None
        try:
            ccr = CreditControlRequest.decode(frame, ignored)
            request = to_request(ccr, "", settings)
        except ProtocolError:
            return None
        said = StatedAbout(request.identities, request.inputs, told_by(request))
        self.keep(context, octets, said)
        return said
