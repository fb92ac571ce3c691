"""WiMAX: prepaid accounting over RADIUS (PPAC, PPAQ, PTS), and sessions."""

from protocol.radius.attribute import Attribute
from protocol.radius.types import (
    BYTE,
    COMBO_IP,
    ENUM,
    INTEGER,
    SIGNED,
    STRING,
    TEXT,
    TLV,
)

WIMAX = 24757

WIMAX_CAPABILITY = Attribute("WiMAX-Capability", 1, TLV, vendor=WIMAX)
WIMAX_RELEASE = Attribute("WiMAX-Release", "1.1", TEXT, vendor=WIMAX)
WIMAX_ACCOUNTING_CAPABILITIES = Attribute("WiMAX-Accounting-Capabilities", "1.2", BYTE, vendor=WIMAX)
WIMAX_HOTLINING_CAPABILITIES = Attribute("WiMAX-Hotlining-Capabilities", "1.3", BYTE, vendor=WIMAX)
WIMAX_IDLE_MODE_NOTIFICATION_CAP = Attribute("WiMAX-Idle-Mode-Notification-Cap", "1.4", BYTE, vendor=WIMAX)
WIMAX_ASN_IP_SERVICE_CAPABILITIES = Attribute("WiMAX-ASN-IP-Service-Capabilities", "1.5", BYTE, vendor=WIMAX)
WIMAX_VCSN_IP_SERVICE_CAPABILITIES = Attribute("WiMAX-VCSN-IP-Service-Capabilities", "1.6", BYTE, vendor=WIMAX)
WIMAX_AUTHORIZED_IP_SERVICES = Attribute("WiMAX-Authorized-IP-Services", "1.7", BYTE, vendor=WIMAX)
WIMAX_AUTHORIZED_ANCHOR_LOCATIONS = Attribute("WiMAX-Authorized-Anchor-Locations", "1.8", BYTE, vendor=WIMAX)
WIMAX_ASN_ETHERNET_SERVICE_CAPABILITIES = Attribute(
    "WiMAX-ASN-Ethernet-Service-Capabilities", "1.9", BYTE, vendor=WIMAX
)
WIMAX_VCSN_ETHERNET_SERVICE_CAPABILITIES = Attribute(
    "WiMAX-VCSN-Ethernet-Service-Capabilities", "1.10", BYTE, vendor=WIMAX
)
WIMAX_AUTHORIZED_ETHERNET_SERVICES = Attribute("WiMAX-Authorized-Ethernet-Services", "1.11", BYTE, vendor=WIMAX)
WIMAX_DEVICE_AUTHENTICATION_INDICATOR = Attribute("WiMAX-Device-Authentication-Indicator", 2, BYTE, vendor=WIMAX)
WIMAX_GMT_TIMEZONE_OFFSET = Attribute("WiMAX-GMT-Timezone-offset", 3, SIGNED, vendor=WIMAX)
WIMAX_AAA_SESSION_ID = Attribute("WiMAX-AAA-Session-Id", 4, STRING, vendor=WIMAX)
WIMAX_MSK = Attribute("WiMAX-MSK", 5, STRING, vendor=WIMAX, encrypt=2)
WIMAX_PREPAID_INDICATOR = Attribute("WiMAX-Prepaid-Indicator", 25, BYTE, vendor=WIMAX)
WIMAX_PPAC = Attribute("WiMAX-PPAC", 35, TLV, vendor=WIMAX)
WIMAX_AVAILABLE_IN_CLIENT = Attribute("WiMAX-Available-In-Client", "35.1", ENUM, vendor=WIMAX)
WIMAX_SESSION_TERMINATION_CAPABILITY = Attribute("WiMAX-Session-Termination-Capability", 36, ENUM, vendor=WIMAX)
WIMAX_PPAQ = Attribute("WiMAX-PPAQ", 37, TLV, vendor=WIMAX)
WIMAX_PPAQ_QUOTA_IDENTIFIER = Attribute("WiMAX-PPAQ-Quota-Identifier", "37.1", STRING, vendor=WIMAX)
WIMAX_VOLUME_QUOTA = Attribute("WiMAX-Volume-Quota", "37.2", INTEGER, vendor=WIMAX)
WIMAX_VOLUME_THRESHOLD = Attribute("WiMAX-Volume-Threshold", "37.3", INTEGER, vendor=WIMAX)
WIMAX_DURATION_QUOTA = Attribute("WiMAX-Duration-Quota", "37.4", INTEGER, vendor=WIMAX)
WIMAX_DURATION_THRESHOLD = Attribute("WiMAX-Duration-Threshold", "37.5", INTEGER, vendor=WIMAX)
WIMAX_RESOURCE_QUOTA = Attribute("WiMAX-Resource-Quota", "37.6", INTEGER, vendor=WIMAX)
WIMAX_RESOURCE_THRESHOLD = Attribute("WiMAX-Resource-Threshold", "37.7", INTEGER, vendor=WIMAX)
WIMAX_UPDATE_REASON = Attribute("WiMAX-Update-Reason", "37.8", ENUM, vendor=WIMAX)
WIMAX_PREPAID_SERVER = Attribute("WiMAX-Prepaid-Server", "37.9", COMBO_IP, vendor=WIMAX)
WIMAX_SERVICE_ID = Attribute("WiMAX-Service-Id", "37.10", TEXT, vendor=WIMAX)
WIMAX_RATING_GROUP_ID = Attribute("WiMAX-Rating-Group-Id", "37.11", INTEGER, vendor=WIMAX)
WIMAX_TERMINATION_ACTION = Attribute("WiMAX-Termination-Action", "37.12", BYTE, vendor=WIMAX)
WIMAX_POOL_ID = Attribute("WiMAX-Pool-Id", "37.13", INTEGER, vendor=WIMAX)
WIMAX_POOL_MULTIPLIER = Attribute("WiMAX-Pool-Multiplier", "37.14", INTEGER, vendor=WIMAX)
WIMAX_REQUESTED_ACTION = Attribute("WiMAX-Requested-Action", "37.15", BYTE, vendor=WIMAX)
WIMAX_CHECK_BALANCE_RESULT = Attribute("WiMAX-Check-Balance-Result", "37.16", BYTE, vendor=WIMAX)
WIMAX_COST_INFORMATION_AVP = Attribute("WiMAX-Cost-Information-AVP", "37.17", STRING, vendor=WIMAX)
WIMAX_PREPAID_TARIFF_SWITCHING = Attribute("WiMAX-Prepaid-Tariff-Switching", 38, TLV, vendor=WIMAX)
WIMAX_PREPAID_QUOTA_IDENTIFIER = Attribute("WiMAX-Prepaid-Quota-Identifier", "38.1", TEXT, vendor=WIMAX)
WIMAX_VOLUME_USED_AFTER = Attribute("WiMAX-Volume-Used-After", "38.2", INTEGER, vendor=WIMAX)
WIMAX_TARIFF_SWITCH_INTERVAL = Attribute("WiMAX-Tariff-Switch-Interval", "38.3", INTEGER, vendor=WIMAX)
WIMAX_TIME_INTERVAL_AFTER = Attribute("WiMAX-Time-Interval-After", "38.4", INTEGER, vendor=WIMAX)
WIMAX_ACTIVE_TIME_DURATION = Attribute("WiMAX-Active-Time-Duration", 39, INTEGER, vendor=WIMAX)
WIMAX_DNS_SERVER = Attribute("WiMAX-DNS-Server", 52, COMBO_IP, vendor=WIMAX)
