"""Overload control and routing priority (RFC 7683, RFC 7944, RFC 7075), known by code."""

from protocol.diameter.avp import Avp
from protocol.diameter.types import (
    ENUMERATED,
    GROUPED,
    IDENTITY,
    UNSIGNED32,
    UNSIGNED64,
)

KNOWN = (
    Avp("DRMP", 301, ENUMERATED, m=False),
    Avp("Redirect-Realm", 620, IDENTITY, m=False),
    Avp("OC-Supported-Features", 621, GROUPED, m=False),
    Avp("OC-Feature-Vector", 622, UNSIGNED64, m=False),
    Avp("OC-OLR", 623, GROUPED, m=False),
    Avp("OC-Sequence-Number", 624, UNSIGNED64, m=False),
    Avp("OC-Validity-Duration", 625, UNSIGNED32, m=False),
    Avp("OC-Report-Type", 626, ENUMERATED, m=False),
    Avp("OC-Reduction-Percentage", 627, UNSIGNED32, m=False),
)
