"""3GPP on Gi and SGi (TS 29.061 section 16.4.7)."""

from protocol.radius.attribute import Attribute
from protocol.radius.types import (
    BYTE,
    INTEGER,
    IPV4ADDR,
    IPV6ADDR,
    STRING,
    TEXT,
    octets_of,
)

TGPP = 10415

TGPP_IMSI = Attribute("3GPP-IMSI", 1, TEXT, vendor=TGPP)
TGPP_CHARGING_ID = Attribute("3GPP-Charging-ID", 2, INTEGER, vendor=TGPP)
TGPP_PDP_TYPE = Attribute("3GPP-PDP-Type", 3, INTEGER, vendor=TGPP)
TGPP_CHARGING_GATEWAY_ADDRESS = Attribute("3GPP-Charging-Gateway-Address", 4, IPV4ADDR, vendor=TGPP)
TGPP_GPRS_NEGOTIATED_QOS_PROFILE = Attribute("3GPP-GPRS-Negotiated-QoS-profile", 5, TEXT, vendor=TGPP)
TGPP_SGSN_ADDRESS = Attribute("3GPP-SGSN-Address", 6, IPV4ADDR, vendor=TGPP)
TGPP_GGSN_ADDRESS = Attribute("3GPP-GGSN-Address", 7, IPV4ADDR, vendor=TGPP)
TGPP_IMSI_MCC_MNC = Attribute("3GPP-IMSI-MCC-MNC", 8, TEXT, vendor=TGPP)
TGPP_GGSN_MCC_MNC = Attribute("3GPP-GGSN-MCC-MNC", 9, TEXT, vendor=TGPP)
TGPP_NSAPI = Attribute("3GPP-NSAPI", 10, TEXT, vendor=TGPP)
TGPP_SESSION_STOP_INDICATOR = Attribute("3GPP-Session-Stop-Indicator", 11, BYTE, vendor=TGPP)
TGPP_SELECTION_MODE = Attribute("3GPP-Selection-Mode", 12, TEXT, vendor=TGPP)
TGPP_CHARGING_CHARACTERISTICS = Attribute("3GPP-Charging-Characteristics", 13, TEXT, vendor=TGPP)
TGPP_CHARGING_GATEWAY_IPV6_ADDRESS = Attribute("3GPP-Charging-Gateway-IPv6-Address", 14, IPV6ADDR, vendor=TGPP)
TGPP_SGSN_IPV6_ADDRESS = Attribute("3GPP-SGSN-IPv6-Address", 15, IPV6ADDR, vendor=TGPP)
TGPP_GGSN_IPV6_ADDRESS = Attribute("3GPP-GGSN-IPv6-Address", 16, IPV6ADDR, vendor=TGPP)
TGPP_IPV6_DNS_SERVERS = Attribute("3GPP-IPv6-DNS-Servers", 17, STRING, vendor=TGPP)
TGPP_SGSN_MCC_MNC = Attribute("3GPP-SGSN-MCC-MNC", 18, TEXT, vendor=TGPP)
TGPP_TEARDOWN_INDICATOR = Attribute("3GPP-Teardown-Indicator", 19, BYTE, vendor=TGPP)
TGPP_IMEISV = Attribute("3GPP-IMEISV", 20, TEXT, vendor=TGPP)
TGPP_RAT_TYPE = Attribute("3GPP-RAT-Type", 21, BYTE, vendor=TGPP)
TGPP_LOCATION_INFO = Attribute("3GPP-Location-Info", 22, STRING, vendor=TGPP)
TGPP_MS_TIME_ZONE = Attribute("3GPP-MS-Time-Zone", 23, octets_of(2), vendor=TGPP)
TGPP_CAMEL_CHARGING_INFO = Attribute("3GPP-Camel-Charging-Info", 24, STRING, vendor=TGPP)
TGPP_PACKET_FILTER = Attribute("3GPP-Packet-Filter", 25, STRING, vendor=TGPP)
TGPP_NEGOTIATED_DSCP = Attribute("3GPP-Negotiated-DSCP", 26, BYTE, vendor=TGPP)
TGPP_ALLOCATE_IP_TYPE = Attribute("3GPP-Allocate-IP-Type", 27, BYTE, vendor=TGPP)
