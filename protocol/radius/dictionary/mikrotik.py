"""Mikrotik RouterOS."""

from protocol.radius.attribute import Attribute
from protocol.radius.types import ENUM, INTEGER, IPV4ADDR, TEXT

MIKROTIK = 14988

MIKROTIK_RECV_LIMIT = Attribute("Mikrotik-Recv-Limit", 1, INTEGER, vendor=MIKROTIK)
MIKROTIK_XMIT_LIMIT = Attribute("Mikrotik-Xmit-Limit", 2, INTEGER, vendor=MIKROTIK)
MIKROTIK_GROUP = Attribute("Mikrotik-Group", 3, TEXT, vendor=MIKROTIK)
MIKROTIK_WIRELESS_FORWARD = Attribute("Mikrotik-Wireless-Forward", 4, INTEGER, vendor=MIKROTIK)
MIKROTIK_WIRELESS_SKIP_DOT1X = Attribute("Mikrotik-Wireless-Skip-Dot1x", 5, INTEGER, vendor=MIKROTIK)
MIKROTIK_WIRELESS_ENC_ALGO = Attribute("Mikrotik-Wireless-Enc-Algo", 6, ENUM, vendor=MIKROTIK)
MIKROTIK_WIRELESS_ENC_KEY = Attribute("Mikrotik-Wireless-Enc-Key", 7, TEXT, vendor=MIKROTIK)
MIKROTIK_RATE_LIMIT = Attribute("Mikrotik-Rate-Limit", 8, TEXT, vendor=MIKROTIK)
MIKROTIK_REALM = Attribute("Mikrotik-Realm", 9, TEXT, vendor=MIKROTIK)
MIKROTIK_HOST_IP = Attribute("Mikrotik-Host-IP", 10, IPV4ADDR, vendor=MIKROTIK)
MIKROTIK_MARK_ID = Attribute("Mikrotik-Mark-Id", 11, TEXT, vendor=MIKROTIK)
MIKROTIK_ADVERTISE_URL = Attribute("Mikrotik-Advertise-URL", 12, TEXT, vendor=MIKROTIK)
MIKROTIK_ADVERTISE_INTERVAL = Attribute("Mikrotik-Advertise-Interval", 13, INTEGER, vendor=MIKROTIK)
MIKROTIK_RECV_LIMIT_GIGAWORDS = Attribute("Mikrotik-Recv-Limit-Gigawords", 14, INTEGER, vendor=MIKROTIK)
MIKROTIK_XMIT_LIMIT_GIGAWORDS = Attribute("Mikrotik-Xmit-Limit-Gigawords", 15, INTEGER, vendor=MIKROTIK)
MIKROTIK_WIRELESS_PSK = Attribute("Mikrotik-Wireless-PSK", 16, TEXT, vendor=MIKROTIK)
MIKROTIK_TOTAL_LIMIT = Attribute("Mikrotik-Total-Limit", 17, INTEGER, vendor=MIKROTIK)
MIKROTIK_TOTAL_LIMIT_GIGAWORDS = Attribute("Mikrotik-Total-Limit-Gigawords", 18, INTEGER, vendor=MIKROTIK)
MIKROTIK_ADDRESS_LIST = Attribute("Mikrotik-Address-List", 19, TEXT, vendor=MIKROTIK)
MIKROTIK_WIRELESS_MPKEY = Attribute("Mikrotik-Wireless-MPKey", 20, TEXT, vendor=MIKROTIK)
MIKROTIK_WIRELESS_COMMENT = Attribute("Mikrotik-Wireless-Comment", 21, TEXT, vendor=MIKROTIK)
MIKROTIK_DELEGATED_IPV6_POOL = Attribute("Mikrotik-Delegated-IPv6-Pool", 22, TEXT, vendor=MIKROTIK)
MIKROTIK_DHCP_OPTION_SET = Attribute("Mikrotik-DHCP-Option-Set", 23, TEXT, vendor=MIKROTIK)
MIKROTIK_DHCP_OPTION_PARAM_STR1 = Attribute("Mikrotik-DHCP-Option-Param-STR1", 24, TEXT, vendor=MIKROTIK)
MIKROTIK_DHCP_OPTION_PARAM_STR2 = Attribute("Mikrotik-DHCP-Option-Param-STR2", 25, TEXT, vendor=MIKROTIK)
MIKROTIK_WIRELESS_VLANID = Attribute("Mikrotik-Wireless-VLANID", 26, INTEGER, vendor=MIKROTIK)
MIKROTIK_WIRELESS_VLANIDTYPE = Attribute("Mikrotik-Wireless-VLANIDtype", 27, ENUM, vendor=MIKROTIK)
MIKROTIK_WIRELESS_MINSIGNAL = Attribute("Mikrotik-Wireless-Minsignal", 28, TEXT, vendor=MIKROTIK)
MIKROTIK_WIRELESS_MAXSIGNAL = Attribute("Mikrotik-Wireless-Maxsignal", 29, TEXT, vendor=MIKROTIK)
MIKROTIK_SWITCHING_FILTER = Attribute("Mikrotik-Switching-Filter", 30, TEXT, vendor=MIKROTIK)
