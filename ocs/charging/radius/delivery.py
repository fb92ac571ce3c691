"""What a NAS is told of how a session is to be served: its speed, what it may still use, or the walled garden. Pure."""

from __future__ import annotations

from ocs.charging.radius.affordable import ENDLESS, Affordable
from ocs.charging.radius.attribute_template import speed, volume
from ocs.charging.radius.vendor_profile import TIMEOUT_MAX, VendorProfile
from ocs.charging.request import Delivery, FinalAction, FinalUnit
from ocs.charging.services import Service
from protocol.radius.dictionary.standard import SESSION_TIMEOUT


def served(vendor: VendorProfile, service: Service, grade: str, left: Affordable = ENDLESS) -> bytes:
    """Attributes of a session that may be used: speed of its grade, where the service says one, and its ends.

    grade:  it is served by, "" for none
    left:   what may still be used
    """
    delivery = service.grades.get(grade, Delivery())
    facts: dict[str, int | str] = {"grade": grade, **speed(delivery.down_bps, delivery.up_bps)}
    body = vendor.sends("speed", facts)
    if left.octets is not None:
        body += vendor.sends("volume_limit", volume(left.octets))
    if left.seconds is not None:
        seconds = max(1, min(left.seconds, TIMEOUT_MAX))
        body += SESSION_TIMEOUT.pack(seconds) + vendor.sends("time_limit", {"seconds": seconds})
    return body


def walled_garden(vendor: VendorProfile, final: FinalUnit) -> bytes:
    """Attributes of a session without money; nothing where the service has no walled garden, or its maker no words for
    it: then it has to end."""
    if final.action is FinalAction.TERMINATE:
        return b""
    names = (*final.filter_ids, *final.filters)
    return vendor.sends("suspended", {"url": final.address, "filter": names[0] if names else ""})


def out_of_the_garden(vendor: VendorProfile, service: Service, grade: str) -> bytes:
    """What takes the walled garden away again; speed and ends are told beside it."""
    names = (*service.final.filter_ids, *service.final.filters)
    return vendor.sends("resumed", {"grade": grade, "filter": names[0] if names else ""})
