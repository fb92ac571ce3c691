"""WISPr, which Wi-Fi controllers of many makers read."""

from protocol.radius.attribute import Attribute
from protocol.radius.types import INTEGER, TEXT

WISPR = 14122

WISPR_LOCATION_ID = Attribute("WISPr-Location-ID", 1, TEXT, vendor=WISPR)
WISPR_LOCATION_NAME = Attribute("WISPr-Location-Name", 2, TEXT, vendor=WISPR)
WISPR_LOGOFF_URL = Attribute("WISPr-Logoff-URL", 3, TEXT, vendor=WISPR)
WISPR_REDIRECTION_URL = Attribute("WISPr-Redirection-URL", 4, TEXT, vendor=WISPR)
WISPR_BANDWIDTH_MIN_UP = Attribute("WISPr-Bandwidth-Min-Up", 5, INTEGER, vendor=WISPR)
WISPR_BANDWIDTH_MIN_DOWN = Attribute("WISPr-Bandwidth-Min-Down", 6, INTEGER, vendor=WISPR)
WISPR_BANDWIDTH_MAX_UP = Attribute("WISPr-Bandwidth-Max-Up", 7, INTEGER, vendor=WISPR)
WISPR_BANDWIDTH_MAX_DOWN = Attribute("WISPr-Bandwidth-Max-Down", 8, INTEGER, vendor=WISPR)
WISPR_SESSION_TERMINATE_TIME = Attribute("WISPr-Session-Terminate-Time", 9, TEXT, vendor=WISPR)
WISPR_SESSION_TERMINATE_END_OF_DAY = Attribute("WISPr-Session-Terminate-End-Of-Day", 10, TEXT, vendor=WISPR)
WISPR_BILLING_CLASS_OF_SERVICE = Attribute("WISPr-Billing-Class-Of-Service", 11, TEXT, vendor=WISPR)
