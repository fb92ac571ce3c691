"""Microsoft: MS-CHAP and MPPE (RFC 2548)."""

from protocol.radius.attribute import Attribute
from protocol.radius.types import (
    ENUM,
    INTEGER,
    IPV4ADDR,
    STRING,
    TEXT,
    octets_of,
)

MICROSOFT = 311

MS_CHAP_RESPONSE = Attribute("MS-CHAP-Response", 1, octets_of(50), vendor=MICROSOFT)
MS_CHAP_ERROR = Attribute("MS-CHAP-Error", 2, TEXT, vendor=MICROSOFT)
MS_CHAP_CPW_1 = Attribute("MS-CHAP-CPW-1", 3, octets_of(70), vendor=MICROSOFT)
MS_CHAP_CPW_2 = Attribute("MS-CHAP-CPW-2", 4, octets_of(84), vendor=MICROSOFT)
MS_CHAP_LM_ENC_PW = Attribute("MS-CHAP-LM-Enc-PW", 5, STRING, vendor=MICROSOFT)
MS_CHAP_NT_ENC_PW = Attribute("MS-CHAP-NT-Enc-PW", 6, STRING, vendor=MICROSOFT)
MS_MPPE_ENCRYPTION_POLICY = Attribute("MS-MPPE-Encryption-Policy", 7, ENUM, vendor=MICROSOFT)
MS_MPPE_ENCRYPTION_TYPE = Attribute("MS-MPPE-Encryption-Type", 8, INTEGER, vendor=MICROSOFT)
MS_RAS_VENDOR = Attribute("MS-RAS-Vendor", 9, INTEGER, vendor=MICROSOFT)
MS_CHAP_DOMAIN = Attribute("MS-CHAP-Domain", 10, TEXT, vendor=MICROSOFT)
MS_CHAP_CHALLENGE = Attribute("MS-CHAP-Challenge", 11, STRING, vendor=MICROSOFT)
MS_CHAP_MPPE_KEYS = Attribute("MS-CHAP-MPPE-Keys", 12, STRING, vendor=MICROSOFT, encrypt=1)
MS_BAP_USAGE = Attribute("MS-BAP-Usage", 13, ENUM, vendor=MICROSOFT)
MS_LINK_UTILIZATION_THRESHOLD = Attribute("MS-Link-Utilization-Threshold", 14, INTEGER, vendor=MICROSOFT)
MS_LINK_DROP_TIME_LIMIT = Attribute("MS-Link-Drop-Time-Limit", 15, INTEGER, vendor=MICROSOFT)
MS_MPPE_SEND_KEY = Attribute("MS-MPPE-Send-Key", 16, STRING, vendor=MICROSOFT, encrypt=2)
MS_MPPE_RECV_KEY = Attribute("MS-MPPE-Recv-Key", 17, STRING, vendor=MICROSOFT, encrypt=2)
MS_RAS_VERSION = Attribute("MS-RAS-Version", 18, TEXT, vendor=MICROSOFT)
MS_OLD_ARAP_PASSWORD = Attribute("MS-Old-ARAP-Password", 19, STRING, vendor=MICROSOFT)
MS_NEW_ARAP_PASSWORD = Attribute("MS-New-ARAP-Password", 20, STRING, vendor=MICROSOFT)
MS_ARAP_PW_CHANGE_REASON = Attribute("MS-ARAP-PW-Change-Reason", 21, ENUM, vendor=MICROSOFT)
MS_FILTER = Attribute("MS-Filter", 22, STRING, vendor=MICROSOFT)
MS_ACCT_AUTH_TYPE = Attribute("MS-Acct-Auth-Type", 23, ENUM, vendor=MICROSOFT)
MS_ACCT_EAP_TYPE = Attribute("MS-Acct-EAP-Type", 24, ENUM, vendor=MICROSOFT)
MS_CHAP2_RESPONSE = Attribute("MS-CHAP2-Response", 25, octets_of(50), vendor=MICROSOFT)
MS_CHAP2_SUCCESS = Attribute("MS-CHAP2-Success", 26, STRING, vendor=MICROSOFT)
MS_CHAP2_CPW = Attribute("MS-CHAP2-CPW", 27, octets_of(68), vendor=MICROSOFT)
MS_PRIMARY_DNS_SERVER = Attribute("MS-Primary-DNS-Server", 28, IPV4ADDR, vendor=MICROSOFT)
MS_SECONDARY_DNS_SERVER = Attribute("MS-Secondary-DNS-Server", 29, IPV4ADDR, vendor=MICROSOFT)
MS_PRIMARY_NBNS_SERVER = Attribute("MS-Primary-NBNS-Server", 30, IPV4ADDR, vendor=MICROSOFT)
MS_SECONDARY_NBNS_SERVER = Attribute("MS-Secondary-NBNS-Server", 31, IPV4ADDR, vendor=MICROSOFT)
MS_RAS_CLIENT_NAME = Attribute("MS-RAS-Client-Name", 34, TEXT, vendor=MICROSOFT)
MS_RAS_CLIENT_VERSION = Attribute("MS-RAS-Client-Version", 35, TEXT, vendor=MICROSOFT)
MS_QUARANTINE_IPFILTER = Attribute("MS-Quarantine-IPFilter", 36, STRING, vendor=MICROSOFT)
MS_QUARANTINE_SESSION_TIMEOUT = Attribute("MS-Quarantine-Session-Timeout", 37, INTEGER, vendor=MICROSOFT)
