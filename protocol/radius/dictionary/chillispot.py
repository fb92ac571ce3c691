"""ChilliSpot and CoovaChilli."""

from protocol.radius.attribute import Attribute
from protocol.radius.types import INTEGER, TEXT

CHILLISPOT = 14559

CHILLISPOT_MAX_INPUT_OCTETS = Attribute("ChilliSpot-Max-Input-Octets", 1, INTEGER, vendor=CHILLISPOT)
CHILLISPOT_MAX_OUTPUT_OCTETS = Attribute("ChilliSpot-Max-Output-Octets", 2, INTEGER, vendor=CHILLISPOT)
CHILLISPOT_MAX_TOTAL_OCTETS = Attribute("ChilliSpot-Max-Total-Octets", 3, INTEGER, vendor=CHILLISPOT)
CHILLISPOT_BANDWIDTH_MAX_UP = Attribute("ChilliSpot-Bandwidth-Max-Up", 4, INTEGER, vendor=CHILLISPOT)
CHILLISPOT_BANDWIDTH_MAX_DOWN = Attribute("ChilliSpot-Bandwidth-Max-Down", 5, INTEGER, vendor=CHILLISPOT)
CHILLISPOT_CONFIG = Attribute("ChilliSpot-Config", 6, TEXT, vendor=CHILLISPOT)
CHILLISPOT_LANG = Attribute("ChilliSpot-Lang", 7, TEXT, vendor=CHILLISPOT)
CHILLISPOT_VERSION = Attribute("ChilliSpot-Version", 8, TEXT, vendor=CHILLISPOT)
CHILLISPOT_ORIGINALURL = Attribute("ChilliSpot-OriginalURL", 9, TEXT, vendor=CHILLISPOT)
CHILLISPOT_UAM_ALLOWED = Attribute("ChilliSpot-UAM-Allowed", 100, TEXT, vendor=CHILLISPOT)
CHILLISPOT_MAC_ALLOWED = Attribute("ChilliSpot-MAC-Allowed", 101, TEXT, vendor=CHILLISPOT)
CHILLISPOT_INTERVAL = Attribute("ChilliSpot-Interval", 102, INTEGER, vendor=CHILLISPOT)
