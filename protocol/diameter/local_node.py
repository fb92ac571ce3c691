"""What all our connections have in common: our identity, the applications we accept, timers, Origin-State-Ids."""

from collections.abc import Callable
from typing import Any

from protocol.diameter.answers import error_answer
from protocol.diameter.dictionary.base import (
    RELAY,
    CapabilitiesExchangeAnswer,
    CapabilitiesExchangeRequest,
    VendorSpecificApplicationId,
)
from protocol.diameter.peer_actions import LocalPeer, RemotePeer, Timers
from protocol.errors import ProtocolError, ResultCode

MAX_ORIGINS = 4096  # hosts whose Origin-State-Id is remembered


class OriginStates:
    """The greatest Origin-State-Id seen of each host (RFC 6733 section 8.16). Also of use for hosts behind a relay."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def rose(self, origin_host: str, origin_state_id: int) -> bool:
        """Whether the host restarted: a greater value than before. 0 says nothing, the first one neither."""
        host = origin_host.lower()
        before = self._seen.get(host)
        if origin_state_id == 0 or (before is not None and origin_state_id <= before):
            return False
        if before is None and len(self._seen) >= MAX_ORIGINS:
            self._seen.pop(next(iter(self._seen)))
        self._seen[host] = origin_state_id
        return before is not None


class LocalNode:
    """What connections share; it refers to none of them. The arguments are those of PeerTable."""

    def __init__(
        self,
        local: LocalPeer,
        timers: Timers,
        admit: Callable[[CapabilitiesExchangeRequest], bool],
        jitter_ms: Callable[[], int],
        end_to_end: int,
    ) -> None:
        self.local, self.timers, self.admit, self.jitter_ms = local, timers, admit, jitter_ms
        self.origins = OriginStates()
        self._end_to_end = end_to_end
        self.capabilities: dict[str, Any] = {
            "origin_host": local.origin_host,
            "origin_realm": local.origin_realm,
            "host_ip_address": local.host_ip_addresses,
            "vendor_id": local.vendor_id,
            "product_name": local.product_name,
            "origin_state_id": local.origin_state_id,
            "supported_vendor_id": local.supported_vendors,
            "auth_application_id": local.auth_applications,
            "acct_application_id": local.acct_applications,
            "vendor_specific_application_id": tuple(
                VendorSpecificApplicationId(vendor_id=vendor, auth_application_id=application)
                for vendor, application in local.vendor_specific
            ),
            "firmware_revision": local.firmware_revision,
        }

    def next_end_to_end(self) -> int:
        self._end_to_end = self._end_to_end + 1 & 0xFFFFFFFF
        return self._end_to_end

    def peer_of(self, said: CapabilitiesExchangeRequest | CapabilitiesExchangeAnswer) -> RemotePeer:
        theirs = {*said.auth_application_id, *said.acct_application_id}
        for one in said.vendor_specific_application_id:  # the vendor inside does not count (section 6.11)
            theirs |= {one.auth_application_id, one.acct_application_id} - {None}  # type: ignore[arg-type]
        ours = self.local.applications
        return RemotePeer(
            origin_host=said.origin_host,
            origin_realm=said.origin_realm,
            applications=ours if RELAY in theirs or RELAY in ours else ours & theirs,
            is_relay=RELAY in theirs,
            origin_state_id=said.origin_state_id,
            product_name=said.product_name,
            vendor_id=said.vendor_id,
            supported_vendors=said.supported_vendor_id,
            host_ip_addresses=said.host_ip_address,
        )

    def error(self, request: bytes, error: ProtocolError | ResultCode) -> bytes:
        return error_answer(
            request,
            error,
            origin_host=self.local.origin_host,
            origin_realm=self.local.origin_realm,
            origin_state_id=self.local.origin_state_id,
            why="" if isinstance(error, ProtocolError) else error.name,
        )
