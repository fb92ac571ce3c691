"""AVPs of NAS applications and accounting (RFC 7155, RFC 2865 to 2869 by the same codes) that travel in credit control.

Only those with a name are members of something; the others are known so that they are never answered with 5001.
"""

from protocol.diameter.avp import Avp
from protocol.diameter.types import (
    ENUMERATED,
    INTEGER32,
    OCTET_STRING,
    UNSIGNED32,
    UNSIGNED64,
    UTF8STRING,
)

FILTER_ID = Avp("Filter-Id", 11, UTF8STRING)
CALLED_STATION_ID = Avp("Called-Station-Id", 30, UTF8STRING)
CALLING_STATION_ID = Avp("Calling-Station-Id", 31, UTF8STRING)

KNOWN = (
    Avp("User-Password", 2, OCTET_STRING),
    Avp("NAS-IP-Address", 4, OCTET_STRING),
    Avp("NAS-Port", 5, UNSIGNED32),
    Avp("Service-Type", 6, ENUMERATED),
    Avp("Framed-Protocol", 7, ENUMERATED),
    Avp("Framed-IP-Address", 8, OCTET_STRING),
    Avp("Framed-IP-Netmask", 9, OCTET_STRING),
    Avp("Framed-Routing", 10, ENUMERATED),
    Avp("Framed-MTU", 12, UNSIGNED32),
    Avp("Framed-Compression", 13, ENUMERATED),
    Avp("Reply-Message", 18, UTF8STRING),
    Avp("Framed-Route", 22, UTF8STRING),
    Avp("State", 24, OCTET_STRING),
    Avp("Vendor-Specific", 26, UNSIGNED32),
    Avp("Idle-Timeout", 28, UNSIGNED32),
    Avp("Termination-Action", 29, OCTET_STRING, m=False),
    Avp("NAS-Identifier", 32, UTF8STRING),
    Avp("Acct-Status-Type", 40, ENUMERATED, m=False),
    Avp("Acct-Delay-Time", 41, UNSIGNED32),
    Avp("Acct-Authentic", 45, ENUMERATED),
    Avp("Acct-Session-Time", 46, UNSIGNED32),
    Avp("Acct-Input-Packets", 47, INTEGER32, m=False),
    Avp("Acct-Output-Packets", 48, INTEGER32, m=False),
    Avp("Acct-Terminate-Cause", 49, ENUMERATED, m=False),
    Avp("CHAP-Challenge", 60, OCTET_STRING),
    Avp("NAS-Port-Type", 61, ENUMERATED),
    Avp("NAS-Port-Id", 87, UTF8STRING),
    Avp("CUI", 89, OCTET_STRING),
    Avp("RADIUS-NAS-Filter-Rule", 92, UTF8STRING),
    Avp("NAS-IPv6-Address", 95, OCTET_STRING),
    Avp("Framed-Interface-Id", 96, UNSIGNED64),
    Avp("Framed-IPv6-Prefix", 97, OCTET_STRING),
    Avp("Framed-IPv6-Pool", 100, OCTET_STRING),
    Avp("Delegated-IPv6-Prefix", 123, OCTET_STRING, m=False),
    Avp("Accounting-Input-Octets", 363, UNSIGNED64),
    Avp("Accounting-Output-Octets", 364, UNSIGNED64),
    Avp("Accounting-Input-Packets", 365, UNSIGNED64),
    Avp("Accounting-Output-Packets", 366, UNSIGNED64),
)
