"""3GPP charging: the AVPs of TS 32.299 (and what it reuses) that are members of a class, and Service-Information.

All groups here are lenient. A service description is evidence for rating, not grammar: which members are required or
repeatable changed from release to release, and a session is not refused for a cell identity. Only what breaks the
framing, the size of a number or the rule for unknown AVPs with M is refused, as everywhere.
"""

from typing import TypeVar

from protocol.diameter.avp import Avp, Group, many, opt
from protocol.diameter.dictionary.credit_values import (
    CURRENCY_CODE,
    SUBSCRIPTION_ID,
    UNIT_VALUE,
    USER_EQUIPMENT_INFO,
    SubscriptionId,
    UnitValue,
    UserEquipmentInfo,
)
from protocol.diameter.dictionary.nasreq import CALLED_STATION_ID
from protocol.diameter.types import (
    ADDRESS,
    ENUMERATED,
    GROUPED,
    IDENTITY,
    INTEGER32,
    OCTET_STRING,
    TIME,
    UNSIGNED32,
    UTF8STRING,
    HostAddress,
    Type,
    grouped,
)

VENDOR = 10415
T = TypeVar("T")


def tgpp(name: str, code: int, type: Type[T], *, m: bool = True) -> Avp[T]:  # noqa: A002
    return Avp(name, code, type, vendor=VENDOR, m=m)


TGPP_CHARGING_ID = tgpp("3GPP-Charging-Id", 2, OCTET_STRING)
TGPP_PDP_TYPE = tgpp("3GPP-PDP-Type", 3, ENUMERATED)
TGPP_IMSI_MCC_MNC = tgpp("3GPP-IMSI-MCC-MNC", 8, UTF8STRING)
TGPP_GGSN_MCC_MNC = tgpp("3GPP-GGSN-MCC-MNC", 9, UTF8STRING)
TGPP_NSAPI = tgpp("3GPP-NSAPI", 10, OCTET_STRING)
TGPP_SESSION_STOP_INDICATOR = tgpp("3GPP-Session-Stop-Indicator", 11, OCTET_STRING, m=False)
TGPP_SELECTION_MODE = tgpp("3GPP-Selection-Mode", 12, UTF8STRING)
TGPP_CHARGING_CHARACTERISTICS = tgpp("3GPP-Charging-Characteristics", 13, UTF8STRING)
TGPP_SGSN_MCC_MNC = tgpp("3GPP-SGSN-MCC-MNC", 18, UTF8STRING)
TGPP_RAT_TYPE = tgpp("3GPP-RAT-Type", 21, OCTET_STRING)
TGPP_USER_LOCATION_INFO = tgpp("3GPP-User-Location-Info", 22, OCTET_STRING)
TGPP_MS_TIMEZONE = tgpp("3GPP-MS-TimeZone", 23, OCTET_STRING)
MAX_REQUESTED_BANDWIDTH_DL = tgpp("Max-Requested-Bandwidth-DL", 515, UNSIGNED32)
MAX_REQUESTED_BANDWIDTH_UL = tgpp("Max-Requested-Bandwidth-UL", 516, UNSIGNED32)
SERVER_CAPABILITIES = tgpp("Server-Capabilities", 603, GROUPED)
SUPPORTED_FEATURES = tgpp("Supported-Features", 628, GROUPED, m=False)
SESSION_PRIORITY = tgpp("Session-Priority", 650, ENUMERATED, m=False)
SIP_METHOD = tgpp("SIP-Method", 824, UTF8STRING)
EVENT = tgpp("Event", 825, UTF8STRING)
ROLE_OF_NODE = tgpp("Role-Of-Node", 829, ENUMERATED)
USER_SESSION_ID = tgpp("User-Session-Id", 830, UTF8STRING)
CALLING_PARTY_ADDRESS = tgpp("Calling-Party-Address", 831, UTF8STRING)
CALLED_PARTY_ADDRESS = tgpp("Called-Party-Address", 832, UTF8STRING)
SIP_REQUEST_TIMESTAMP = tgpp("SIP-Request-Timestamp", 834, TIME)
SIP_RESPONSE_TIMESTAMP = tgpp("SIP-Response-Timestamp", 835, TIME)
ORIGINATING_IOI = tgpp("Originating-IOI", 839, UTF8STRING)
TERMINATING_IOI = tgpp("Terminating-IOI", 840, UTF8STRING)
IMS_CHARGING_IDENTIFIER = tgpp("IMS-Charging-Identifier", 841, UTF8STRING)
SDP_SESSION_DESCRIPTION = tgpp("SDP-Session-Description", 842, UTF8STRING)
SDP_MEDIA_COMPONENT = tgpp("SDP-Media-Component", 843, GROUPED)
CG_ADDRESS = tgpp("CG-Address", 846, ADDRESS)
GGSN_ADDRESS = tgpp("GGSN-Address", 847, ADDRESS)
SERVED_PARTY_IP_ADDRESS = tgpp("Served-Party-IP-Address", 848, ADDRESS)
APPLICATION_SERVER_INFORMATION = tgpp("Application-Server-Information", 850, GROUPED)
TRUNK_GROUP_ID = tgpp("Trunk-Group-Id", 851, GROUPED)
BEARER_SERVICE = tgpp("Bearer-Service", 854, OCTET_STRING)
SERVICE_ID = tgpp("Service-Id", 855, UTF8STRING)
ASSOCIATED_URI = tgpp("Associated-URI", 856, UTF8STRING)
CAUSE_CODE = tgpp("Cause-Code", 861, INTEGER32)
NODE_FUNCTIONALITY = tgpp("Node-Functionality", 862, ENUMERATED)
PS_FURNISH_CHARGING_INFORMATION = tgpp("PS-Furnish-Charging-Information", 865, GROUPED)
TIME_QUOTA_THRESHOLD = tgpp("Time-Quota-Threshold", 868, UNSIGNED32)
VOLUME_QUOTA_THRESHOLD = tgpp("Volume-Quota-Threshold", 869, UNSIGNED32)
TRIGGER_TYPE = tgpp("Trigger-Type", 870, ENUMERATED)
QUOTA_HOLDING_TIME = tgpp("Quota-Holding-Time", 871, UNSIGNED32)
REPORTING_REASON = tgpp("Reporting-Reason", 872, ENUMERATED)
LCS_INFORMATION = tgpp("LCS-Information", 878, GROUPED)
POC_INFORMATION = tgpp("PoC-Information", 879, GROUPED)
MBMS_INFORMATION = tgpp("MBMS-Information", 880, GROUPED)
QUOTA_CONSUMPTION_TIME = tgpp("Quota-Consumption-Time", 881, UNSIGNED32)
EXPIRES = tgpp("Expires", 888, UNSIGNED32)
MESSAGE_BODY = tgpp("Message-Body", 889, GROUPED)
ADDRESS_DATA = tgpp("Address-Data", 897, UTF8STRING)
ADDRESS_TYPE = tgpp("Address-Type", 899, ENUMERATED)
CHARGING_RULE_BASE_NAME = tgpp("Charging-Rule-Base-Name", 1004, UTF8STRING)
QOS_INFORMATION = tgpp("QoS-Information", 1016, GROUPED)
TDF_IP_ADDRESS = tgpp("TDF-IP-Address", 1091, ADDRESS, m=False)
ADC_RULE_BASE_NAME = tgpp("ADC-Rule-Base-Name", 1095, UTF8STRING)
VASP_ID = tgpp("VASP-ID", 1101, UTF8STRING)
VAS_ID = tgpp("VAS-ID", 1102, UTF8STRING)
DOMAIN_NAME = tgpp("Domain-Name", 1200, UTF8STRING)
SUBMISSION_TIME = tgpp("Submission-Time", 1202, TIME)
MM_CONTENT_TYPE = tgpp("MM-Content-Type", 1203, GROUPED)
ADDRESSEE_TYPE = tgpp("Addressee-Type", 1208, ENUMERATED)
PRIORITY = tgpp("Priority", 1209, ENUMERATED)
MESSAGE_ID = tgpp("Message-ID", 1210, UTF8STRING)
MESSAGE_TYPE = tgpp("Message-Type", 1211, ENUMERATED)
MESSAGE_SIZE = tgpp("Message-Size", 1212, UNSIGNED32)
MESSAGE_CLASS = tgpp("Message-Class", 1213, GROUPED)
DELIVERY_REPORT_REQUESTED = tgpp("Delivery-Report-Requested", 1216, ENUMERATED)
ADAPTATIONS = tgpp("Adaptations", 1217, ENUMERATED)
APPLIC_ID = tgpp("Applic-ID", 1218, UTF8STRING)
AUX_APPLIC_INFO = tgpp("Aux-Applic-Info", 1219, UTF8STRING)
CONTENT_CLASS = tgpp("Content-Class", 1220, ENUMERATED)
DRM_CONTENT = tgpp("DRM-Content", 1221, ENUMERATED)
READ_REPLY_REPORT_REQUESTED = tgpp("Read-Reply-Report-Requested", 1222, ENUMERATED)
REPLY_APPLIC_ID = tgpp("Reply-Applic-ID", 1223, UTF8STRING)
UNIT_QUOTA_THRESHOLD = tgpp("Unit-Quota-Threshold", 1226, UNSIGNED32)
PDP_ADDRESS = tgpp("PDP-Address", 1227, ADDRESS)
SGSN_ADDRESS = tgpp("SGSN-Address", 1228, ADDRESS)
PDP_CONTEXT_TYPE = tgpp("PDP-Context-Type", 1247, ENUMERATED)
MMBOX_STORAGE_REQUESTED = tgpp("MMBox-Storage-Requested", 1248, ENUMERATED)
SERVICE_SPECIFIC_INFO = tgpp("Service-Specific-Info", 1249, GROUPED)
CALLED_ASSERTED_IDENTITY = tgpp("Called-Asserted-Identity", 1250, UTF8STRING)
REQUESTED_PARTY_ADDRESS = tgpp("Requested-Party-Address", 1251, UTF8STRING)
SERVICE_GENERIC_INFORMATION = tgpp("Service-Generic-Information", 1256, GROUPED)
EVENT_CHARGING_TIMESTAMP = tgpp("Event-Charging-TimeStamp", 1258, TIME)
ACCESS_NETWORK_INFORMATION = tgpp("Access-Network-Information", 1263, OCTET_STRING)
BASE_TIME_INTERVAL = tgpp("Base-Time-Interval", 1265, UNSIGNED32)
ENVELOPE = tgpp("Envelope", 1266, GROUPED)
ENVELOPE_REPORTING = tgpp("Envelope-Reporting", 1268, ENUMERATED)
TIME_QUOTA_TYPE = tgpp("Time-Quota-Type", 1271, ENUMERATED)
EARLY_MEDIA_DESCRIPTION = tgpp("Early-Media-Description", 1272, GROUPED)
AF_CORRELATION_INFORMATION = tgpp("AF-Correlation-Information", 1276, GROUPED)
OFFLINE_CHARGING = tgpp("Offline-Charging", 1278, GROUPED)
ALTERNATE_CHARGED_PARTY_ADDRESS = tgpp("Alternate-Charged-Party-Address", 1280, UTF8STRING)
IMS_COMMUNICATION_SERVICE_IDENTIFIER = tgpp("IMS-Communication-Service-Identifier", 1281, UTF8STRING)
RAN_SECONDARY_RAT_USAGE_REPORT = tgpp("RAN-Secondary-RAT-Usage-Report", 1302, GROUPED, m=False)
TGPP_OC_SPECIFIC_REDUCTION = tgpp("3GPP-OC-Specific-Reduction", 1320, GROUPED, m=False)
TGPP_OC_RATING_GROUP = tgpp("3GPP-OC-Rating-Group", 1321, UNSIGNED32, m=False)
TERMINAL_INFORMATION = tgpp("Terminal-Information", 1401, GROUPED)
MME_NUMBER_FOR_MT_SMS = tgpp("MME-Number-for-MT-SMS", 1645, OCTET_STRING, m=False)
DATA_CODING_SCHEME = tgpp("Data-Coding-Scheme", 2001, INTEGER32)
DESTINATION_INTERFACE = tgpp("Destination-Interface", 2002, GROUPED)
SM_MESSAGE_TYPE = tgpp("SM-Message-Type", 2007, ENUMERATED)
ORIGINATOR_SCCP_ADDRESS = tgpp("Originator-SCCP-Address", 2008, ADDRESS)
ORIGINATOR_INTERFACE = tgpp("Originator-Interface", 2009, GROUPED)
RECIPIENT_SCCP_ADDRESS = tgpp("Recipient-SCCP-Address", 2010, ADDRESS)
REPLY_PATH_REQUESTED = tgpp("Reply-Path-Requested", 2011, ENUMERATED)
SM_DISCHARGE_TIME = tgpp("SM-Discharge-Time", 2012, TIME)
SM_PROTOCOL_ID = tgpp("SM-Protocol-ID", 2013, OCTET_STRING)
SM_STATUS = tgpp("SM-Status", 2014, OCTET_STRING)
SM_USER_DATA_HEADER = tgpp("SM-User-Data-Header", 2015, OCTET_STRING)
SMS_NODE = tgpp("SMS-Node", 2016, ENUMERATED)
SMSC_ADDRESS = tgpp("SMSC-Address", 2017, ADDRESS)
CLIENT_ADDRESS = tgpp("Client-Address", 2018, ADDRESS)
NUMBER_OF_MESSAGES_SENT = tgpp("Number-Of-Messages-Sent", 2019, UNSIGNED32)
LOW_BALANCE_INDICATION = tgpp("Low-Balance-Indication", 2020, ENUMERATED)
REFUND_INFORMATION = tgpp("Refund-Information", 2022, OCTET_STRING)
CARRIER_SELECT_ROUTING_INFORMATION = tgpp("Carrier-Select-Routing-Information", 2023, UTF8STRING)
NUMBER_PORTABILITY_ROUTING_INFORMATION = tgpp("Number-Portability-Routing-Information", 2024, UTF8STRING)
RECIPIENT_RECEIVED_ADDRESS = tgpp("Recipient-Received-Address", 2028, GROUPED)
SM_SERVICE_TYPE = tgpp("SM-Service-Type", 2029, ENUMERATED)
MMTEL_INFORMATION = tgpp("MMTel-Information", 2030, GROUPED)
CHANGE_CONDITION = tgpp("Change-Condition", 2037, INTEGER32)
DIAGNOSTICS = tgpp("Diagnostics", 2039, INTEGER32)
SERVICE_DATA_CONTAINER = tgpp("Service-Data-Container", 2040, GROUPED)
START_TIME = tgpp("Start-Time", 2041, TIME)
STOP_TIME = tgpp("Stop-Time", 2042, TIME)
TRAFFIC_DATA_VOLUMES = tgpp("Traffic-Data-Volumes", 2046, GROUPED)
SERVING_NODE_TYPE = tgpp("Serving-Node-Type", 2047, ENUMERATED)
PDN_CONNECTION_CHARGING_ID = tgpp("PDN-Connection-Charging-ID", 2050, UNSIGNED32)
DYNAMIC_ADDRESS_FLAG = tgpp("Dynamic-Address-Flag", 2051, ENUMERATED)
AOC_INFORMATION = tgpp("AoC-Information", 2054, GROUPED)
AOC_REQUEST_TYPE = tgpp("AoC-Request-Type", 2055, ENUMERATED)
NODE_ID = tgpp("Node-Id", 2064, UTF8STRING)
SGW_CHANGE = tgpp("SGW-Change", 2065, ENUMERATED)
CHARGING_CHARACTERISTICS_SELECTION_MODE = tgpp("Charging-Characteristics-Selection-Mode", 2066, ENUMERATED)
SGW_ADDRESS = tgpp("SGW-Address", 2067, ADDRESS)
DYNAMIC_ADDRESS_FLAG_EXTENSION = tgpp("Dynamic-Address-Flag-Extension", 2068, ENUMERATED)
IM_INFORMATION = tgpp("IM-Information", 2110, GROUPED)
DCD_INFORMATION = tgpp("DCD-Information", 2115, GROUPED)
SIP_REQUEST_TIMESTAMP_FRACTION = tgpp("SIP-Request-Timestamp-Fraction", 2301, UNSIGNED32)
SIP_RESPONSE_TIMESTAMP_FRACTION = tgpp("SIP-Response-Timestamp-Fraction", 2302, UNSIGNED32)
ONLINE_CHARGING_FLAG = tgpp("Online-Charging-Flag", 2303, ENUMERATED)
REAL_TIME_TARIFF_INFORMATION = tgpp("Real-Time-Tariff-Information", 2305, GROUPED)
IMSI_UNAUTHENTICATED_FLAG = tgpp("IMSI-Unauthenticated-Flag", 2308, ENUMERATED)
ACCOUNT_EXPIRATION = tgpp("Account-Expiration", 2309, TIME)
USER_CSG_INFORMATION = tgpp("User-CSG-Information", 2319, GROUPED)
OUTGOING_SESSION_ID = tgpp("Outgoing-Session-Id", 2320, UTF8STRING)
INITIAL_IMS_CHARGING_IDENTIFIER = tgpp("Initial-IMS-Charging-Identifier", 2321, UTF8STRING)
IMS_EMERGENCY_INDICATOR = tgpp("IMS-Emergency-Indicator", 2322, ENUMERATED)
MME_NAME = tgpp("MME-Name", 2402, IDENTITY)
MME_REALM = tgpp("MME-Realm", 2408, IDENTITY, m=False)
IMS_APPLICATION_REFERENCE_IDENTIFIER = tgpp("IMS-Application-Reference-Identifier", 2601, UTF8STRING)
LOW_PRIORITY_INDICATOR = tgpp("Low-Priority-Indicator", 2602, ENUMERATED)
PDP_ADDRESS_PREFIX_LENGTH = tgpp("PDP-Address-Prefix-Length", 2606, UNSIGNED32)
TRANSIT_IOI_LIST = tgpp("Transit-IOI-List", 2701, UTF8STRING)
NNI_INFORMATION = tgpp("NNI-Information", 2703, GROUPED)
FROM_ADDRESS = tgpp("From-Address", 2708, UTF8STRING)
ACCESS_TRANSFER_INFORMATION = tgpp("Access-Transfer-Information", 2709, GROUPED)
RELATED_IMS_CHARGING_IDENTIFIER = tgpp("Related-IMS-Charging-Identifier", 2711, UTF8STRING)
RELATED_IMS_CHARGING_IDENTIFIER_NODE = tgpp("Related-IMS-Charging-Identifier-Node", 2712, ADDRESS)
IMS_VISITED_NETWORK_IDENTIFIER = tgpp("IMS-Visited-Network-Identifier", 2713, UTF8STRING)
TWAN_USER_LOCATION_INFO = tgpp("TWAN-User-Location-Info", 2714, GROUPED)
TAD_IDENTIFIER = tgpp("TAD-Identifier", 2717, ENUMERATED)
USER_LOCATION_INFO_TIME = tgpp("User-Location-Info-Time", 2812, TIME, m=False)
PRESENCE_REPORTING_AREA_INFORMATION = tgpp("Presence-Reporting-Area-Information", 2822, GROUPED, m=False)
FIXED_USER_LOCATION_INFO = tgpp("Fixed-User-Location-Info", 2825, GROUPED, m=False)
NBIFOM_MODE = tgpp("NBIFOM-Mode", 2830, ENUMERATED, m=False)
NBIFOM_SUPPORT = tgpp("NBIFOM-Support", 2831, ENUMERATED, m=False)
APPLICATION_PORT_IDENTIFIER = tgpp("Application-Port-Identifier", 3010, UNSIGNED32)
EXTERNAL_IDENTIFIER = tgpp("External-Identifier", 3111, UTF8STRING)
REASON_HEADER = tgpp("Reason-Header", 3401, UTF8STRING)
INSTANCE_ID = tgpp("Instance-Id", 3402, UTF8STRING)
ROUTE_HEADER_RECEIVED = tgpp("Route-Header-Received", 3403, UTF8STRING)
ROUTE_HEADER_TRANSMITTED = tgpp("Route-Header-Transmitted", 3404, UTF8STRING)
SM_DEVICE_TRIGGER_INFORMATION = tgpp("SM-Device-Trigger-Information", 3405, GROUPED)
MTC_IWF_ADDRESS = tgpp("MTC-IWF-Address", 3406, ADDRESS)
SM_DEVICE_TRIGGER_INDICATOR = tgpp("SM-Device-Trigger-Indicator", 3407, ENUMERATED)
SM_SEQUENCE_NUMBER = tgpp("SM-Sequence-Number", 3408, UNSIGNED32)
SMS_RESULT = tgpp("SMS-Result", 3409, UNSIGNED32)
VCS_INFORMATION = tgpp("VCS-Information", 3410, GROUPED)
CN_OPERATOR_SELECTION_ENTITY = tgpp("CN-Operator-Selection-Entity", 3421, ENUMERATED)
EPDG_ADDRESS = tgpp("EPDG-Address", 3425, ADDRESS)
PROSE_INFORMATION = tgpp("ProSe-Information", 3447, GROUPED)
ENHANCED_DIAGNOSTICS = tgpp("Enhanced-Diagnostics", 3901, GROUPED)
TWAG_ADDRESS = tgpp("TWAG-Address", 3903, ADDRESS)
ANNOUNCEMENT_INFORMATION = tgpp("Announcement-Information", 3904, GROUPED)
CALLED_IDENTITY_CHANGE = tgpp("Called-Identity-Change", 3917, GROUPED)
UWAN_USER_LOCATION_INFO = tgpp("UWAN-User-Location-Info", 3918, GROUPED)
CELLULAR_NETWORK_INFORMATION = tgpp("Cellular-Network-Information", 3924, OCTET_STRING)
RELATED_TRIGGER = tgpp("Related-Trigger", 3926, GROUPED)
CPDT_INFORMATION = tgpp("CPDT-Information", 3927, GROUPED)
CP_CIOT_EPS_OPTIMISATION_INDICATOR = tgpp("CP-CIoT-EPS-Optimisation-Indicator", 3930, ENUMERATED)
SGI_PTP_TUNNELLING_METHOD = tgpp("SGi-PtP-Tunnelling-Method", 3931, ENUMERATED)
UNI_PDU_CP_ONLY_FLAG = tgpp("UNI-PDU-CP-Only-Flag", 3932, ENUMERATED)
APN_RATE_CONTROL = tgpp("APN-Rate-Control", 3933, GROUPED)
SCS_AS_ADDRESS = tgpp("SCS-AS-Address", 3940, GROUPED)
SERVING_PLMN_RATE_CONTROL = tgpp("Serving-PLMN-Rate-Control", 4310, GROUPED)
RRC_CAUSE_COUNTER = tgpp("RRC-Cause-Counter", 4318, GROUPED)
CHARGING_PER_IP_CAN_SESSION_INDICATOR = tgpp("Charging-Per-IP-CAN-Session-Indicator", 4400, ENUMERATED)
ACCESS_NETWORK_INFO_CHANGE = tgpp("Access-Network-Info-Change", 4401, GROUPED)
TGPP_PS_DATA_OFF_STATUS = tgpp("3GPP-PS-Data-Off-Status", 4406, ENUMERATED)
UNUSED_QUOTA_TIMER = tgpp("Unused-Quota-Timer", 4407, UNSIGNED32)
FE_IDENTIFIER_LIST = tgpp("FE-Identifier-List", 4413, UTF8STRING)


class Trigger(Group, lenient=True):
    trigger_type: tuple[int, ...] = many(TRIGGER_TYPE)


TRIGGER = tgpp("Trigger", 1264, grouped(Trigger))


class TimeQuotaMechanism(Group, lenient=True):
    time_quota_type: int | None = opt(TIME_QUOTA_TYPE)
    base_time_interval: int | None = opt(BASE_TIME_INTERVAL)


TIME_QUOTA_MECHANISM = tgpp("Time-Quota-Mechanism", 1270, grouped(TimeQuotaMechanism))


class RemainingBalance(Group, lenient=True):
    unit_value: UnitValue | None = opt(UNIT_VALUE)
    currency_code: int | None = opt(CURRENCY_CODE)


REMAINING_BALANCE = tgpp("Remaining-Balance", 2021, grouped(RemainingBalance))


class EventType(Group, lenient=True):
    sip_method: str | None = opt(SIP_METHOD)
    event: str | None = opt(EVENT)
    expires: int | None = opt(EXPIRES)


EVENT_TYPE = tgpp("Event-Type", 823, grouped(EventType))


class TimeStamps(Group, lenient=True):
    sip_request_timestamp: int | None = opt(SIP_REQUEST_TIMESTAMP)
    sip_response_timestamp: int | None = opt(SIP_RESPONSE_TIMESTAMP)
    sip_request_timestamp_fraction: int | None = opt(SIP_REQUEST_TIMESTAMP_FRACTION)
    sip_response_timestamp_fraction: int | None = opt(SIP_RESPONSE_TIMESTAMP_FRACTION)


TIME_STAMPS = tgpp("Time-Stamps", 833, grouped(TimeStamps))


class InterOperatorIdentifier(Group, lenient=True):
    originating_ioi: str | None = opt(ORIGINATING_IOI)
    terminating_ioi: str | None = opt(TERMINATING_IOI)


INTER_OPERATOR_IDENTIFIER = tgpp("Inter-Operator-Identifier", 838, grouped(InterOperatorIdentifier))


class AddressDomain(Group, lenient=True):
    domain_name: str | None = opt(DOMAIN_NAME)
    tgpp_imsi_mcc_mnc: str | None = opt(TGPP_IMSI_MCC_MNC)


ADDRESS_DOMAIN = tgpp("Address-Domain", 898, grouped(AddressDomain))


class OriginatorAddress(Group, lenient=True):
    address_type: int | None = opt(ADDRESS_TYPE)
    address_data: str | None = opt(ADDRESS_DATA)
    address_domain: AddressDomain | None = opt(ADDRESS_DOMAIN)


ORIGINATOR_ADDRESS = tgpp("Originator-Address", 886, grouped(OriginatorAddress))


class RecipientAddress(Group, lenient=True):
    address_type: int | None = opt(ADDRESS_TYPE)
    address_data: str | None = opt(ADDRESS_DATA)
    address_domain: AddressDomain | None = opt(ADDRESS_DOMAIN)
    addressee_type: int | None = opt(ADDRESSEE_TYPE)


RECIPIENT_ADDRESS = tgpp("Recipient-Address", 1201, grouped(RecipientAddress))


class OriginatorReceivedAddress(Group, lenient=True):
    address_type: int | None = opt(ADDRESS_TYPE)
    address_data: str | None = opt(ADDRESS_DATA)
    address_domain: AddressDomain | None = opt(ADDRESS_DOMAIN)


ORIGINATOR_RECEIVED_ADDRESS = tgpp("Originator-Received-Address", 2027, grouped(OriginatorReceivedAddress))


class RecipientInfo(Group, lenient=True):
    destination_interface: bytes | None = opt(DESTINATION_INTERFACE)
    recipient_address: tuple[RecipientAddress, ...] = many(RECIPIENT_ADDRESS)
    recipient_received_address: tuple[bytes, ...] = many(RECIPIENT_RECEIVED_ADDRESS)
    recipient_sccp_address: HostAddress | None = opt(RECIPIENT_SCCP_ADDRESS)
    sm_protocol_id: bytes | None = opt(SM_PROTOCOL_ID)


RECIPIENT_INFO = tgpp("Recipient-Info", 2026, grouped(RecipientInfo))


class PsInformation(Group, lenient=True, lazy=True):
    supported_features: tuple[bytes, ...] = many(SUPPORTED_FEATURES)
    tgpp_charging_id: bytes | None = opt(TGPP_CHARGING_ID)
    pdn_connection_charging_id: int | None = opt(PDN_CONNECTION_CHARGING_ID)
    node_id: str | None = opt(NODE_ID)
    tgpp_pdp_type: int | None = opt(TGPP_PDP_TYPE)
    pdp_address: tuple[HostAddress, ...] = many(PDP_ADDRESS)
    pdp_address_prefix_length: int | None = opt(PDP_ADDRESS_PREFIX_LENGTH)
    dynamic_address_flag: int | None = opt(DYNAMIC_ADDRESS_FLAG)
    dynamic_address_flag_extension: int | None = opt(DYNAMIC_ADDRESS_FLAG_EXTENSION)
    qos_information: bytes | None = opt(QOS_INFORMATION)
    sgsn_address: tuple[HostAddress, ...] = many(SGSN_ADDRESS)
    ggsn_address: tuple[HostAddress, ...] = many(GGSN_ADDRESS)
    tdf_ip_address: tuple[HostAddress, ...] = many(TDF_IP_ADDRESS)
    sgw_address: tuple[HostAddress, ...] = many(SGW_ADDRESS)
    epdg_address: tuple[HostAddress, ...] = many(EPDG_ADDRESS)
    twag_address: tuple[HostAddress, ...] = many(TWAG_ADDRESS)
    cg_address: HostAddress | None = opt(CG_ADDRESS)
    serving_node_type: int | None = opt(SERVING_NODE_TYPE)
    sgw_change: int | None = opt(SGW_CHANGE)
    tgpp_imsi_mcc_mnc: str | None = opt(TGPP_IMSI_MCC_MNC)
    imsi_unauthenticated_flag: int | None = opt(IMSI_UNAUTHENTICATED_FLAG)
    tgpp_ggsn_mcc_mnc: str | None = opt(TGPP_GGSN_MCC_MNC)
    tgpp_nsapi: bytes | None = opt(TGPP_NSAPI)
    called_station_id: str | None = opt(CALLED_STATION_ID)
    tgpp_session_stop_indicator: bytes | None = opt(TGPP_SESSION_STOP_INDICATOR)
    tgpp_selection_mode: str | None = opt(TGPP_SELECTION_MODE)
    tgpp_charging_characteristics: str | None = opt(TGPP_CHARGING_CHARACTERISTICS)
    charging_characteristics_selection_mode: int | None = opt(CHARGING_CHARACTERISTICS_SELECTION_MODE)
    tgpp_sgsn_mcc_mnc: str | None = opt(TGPP_SGSN_MCC_MNC)
    tgpp_ms_timezone: bytes | None = opt(TGPP_MS_TIMEZONE)
    charging_rule_base_name: str | None = opt(CHARGING_RULE_BASE_NAME)
    adc_rule_base_name: str | None = opt(ADC_RULE_BASE_NAME)
    tgpp_user_location_info: bytes | None = opt(TGPP_USER_LOCATION_INFO)
    user_location_info_time: int | None = opt(USER_LOCATION_INFO_TIME)
    user_csg_information: bytes | None = opt(USER_CSG_INFORMATION)
    presence_reporting_area_information: tuple[bytes, ...] = many(PRESENCE_REPORTING_AREA_INFORMATION)
    twan_user_location_info: bytes | None = opt(TWAN_USER_LOCATION_INFO)
    uwan_user_location_info: bytes | None = opt(UWAN_USER_LOCATION_INFO)
    tgpp_rat_type: bytes | None = opt(TGPP_RAT_TYPE)
    ps_furnish_charging_information: bytes | None = opt(PS_FURNISH_CHARGING_INFORMATION)
    pdp_context_type: int | None = opt(PDP_CONTEXT_TYPE)
    offline_charging: bytes | None = opt(OFFLINE_CHARGING)
    traffic_data_volumes: tuple[bytes, ...] = many(TRAFFIC_DATA_VOLUMES)
    service_data_container: tuple[bytes, ...] = many(SERVICE_DATA_CONTAINER)
    user_equipment_info: UserEquipmentInfo | None = opt(USER_EQUIPMENT_INFO)
    terminal_information: bytes | None = opt(TERMINAL_INFORMATION)
    start_time: int | None = opt(START_TIME)
    stop_time: int | None = opt(STOP_TIME)
    change_condition: int | None = opt(CHANGE_CONDITION)
    diagnostics: int | None = opt(DIAGNOSTICS)
    low_priority_indicator: int | None = opt(LOW_PRIORITY_INDICATOR)
    nbifom_mode: int | None = opt(NBIFOM_MODE)
    nbifom_support: int | None = opt(NBIFOM_SUPPORT)
    mme_number_for_mt_sms: bytes | None = opt(MME_NUMBER_FOR_MT_SMS)
    mme_name: str | None = opt(MME_NAME)
    mme_realm: str | None = opt(MME_REALM)
    fixed_user_location_info: bytes | None = opt(FIXED_USER_LOCATION_INFO)
    cn_operator_selection_entity: int | None = opt(CN_OPERATOR_SELECTION_ENTITY)
    enhanced_diagnostics: bytes | None = opt(ENHANCED_DIAGNOSTICS)
    sgi_ptp_tunnelling_method: int | None = opt(SGI_PTP_TUNNELLING_METHOD)
    cp_ciot_eps_optimisation_indicator: int | None = opt(CP_CIOT_EPS_OPTIMISATION_INDICATOR)
    uni_pdu_cp_only_flag: int | None = opt(UNI_PDU_CP_ONLY_FLAG)
    serving_plmn_rate_control: bytes | None = opt(SERVING_PLMN_RATE_CONTROL)
    apn_rate_control: bytes | None = opt(APN_RATE_CONTROL)
    charging_per_ip_can_session_indicator: int | None = opt(CHARGING_PER_IP_CAN_SESSION_INDICATOR)
    rrc_cause_counter: bytes | None = opt(RRC_CAUSE_COUNTER)
    tgpp_ps_data_off_status: int | None = opt(TGPP_PS_DATA_OFF_STATUS)
    scs_as_address: bytes | None = opt(SCS_AS_ADDRESS)
    unused_quota_timer: int | None = opt(UNUSED_QUOTA_TIMER)
    ran_secondary_rat_usage_report: tuple[bytes, ...] = many(RAN_SECONDARY_RAT_USAGE_REPORT)


PS_INFORMATION = tgpp("PS-Information", 874, grouped(PsInformation))


class ImsInformation(Group, lenient=True, lazy=True):
    event_type: EventType | None = opt(EVENT_TYPE)
    role_of_node: int | None = opt(ROLE_OF_NODE)
    node_functionality: int | None = opt(NODE_FUNCTIONALITY)
    user_session_id: str | None = opt(USER_SESSION_ID)
    outgoing_session_id: str | None = opt(OUTGOING_SESSION_ID)
    session_priority: int | None = opt(SESSION_PRIORITY)
    calling_party_address: tuple[str, ...] = many(CALLING_PARTY_ADDRESS)
    called_party_address: str | None = opt(CALLED_PARTY_ADDRESS)
    called_asserted_identity: tuple[str, ...] = many(CALLED_ASSERTED_IDENTITY)
    called_identity_change: bytes | None = opt(CALLED_IDENTITY_CHANGE)
    number_portability_routing_information: str | None = opt(NUMBER_PORTABILITY_ROUTING_INFORMATION)
    carrier_select_routing_information: str | None = opt(CARRIER_SELECT_ROUTING_INFORMATION)
    alternate_charged_party_address: str | None = opt(ALTERNATE_CHARGED_PARTY_ADDRESS)
    requested_party_address: tuple[str, ...] = many(REQUESTED_PARTY_ADDRESS)
    associated_uri: tuple[str, ...] = many(ASSOCIATED_URI)
    time_stamps: TimeStamps | None = opt(TIME_STAMPS)
    application_server_information: tuple[bytes, ...] = many(APPLICATION_SERVER_INFORMATION)
    inter_operator_identifier: tuple[InterOperatorIdentifier, ...] = many(INTER_OPERATOR_IDENTIFIER)
    transit_ioi_list: tuple[str, ...] = many(TRANSIT_IOI_LIST)
    ims_charging_identifier: str | None = opt(IMS_CHARGING_IDENTIFIER)
    sdp_session_description: tuple[str, ...] = many(SDP_SESSION_DESCRIPTION)
    sdp_media_component: tuple[bytes, ...] = many(SDP_MEDIA_COMPONENT)
    served_party_ip_address: HostAddress | None = opt(SERVED_PARTY_IP_ADDRESS)
    server_capabilities: bytes | None = opt(SERVER_CAPABILITIES)
    trunk_group_id: bytes | None = opt(TRUNK_GROUP_ID)
    bearer_service: bytes | None = opt(BEARER_SERVICE)
    service_id: str | None = opt(SERVICE_ID)
    service_specific_info: tuple[bytes, ...] = many(SERVICE_SPECIFIC_INFO)
    message_body: tuple[bytes, ...] = many(MESSAGE_BODY)
    cause_code: int | None = opt(CAUSE_CODE)
    reason_header: tuple[str, ...] = many(REASON_HEADER)
    access_network_information: tuple[bytes, ...] = many(ACCESS_NETWORK_INFORMATION)
    cellular_network_information: bytes | None = opt(CELLULAR_NETWORK_INFORMATION)
    early_media_description: tuple[bytes, ...] = many(EARLY_MEDIA_DESCRIPTION)
    ims_communication_service_identifier: str | None = opt(IMS_COMMUNICATION_SERVICE_IDENTIFIER)
    ims_application_reference_identifier: str | None = opt(IMS_APPLICATION_REFERENCE_IDENTIFIER)
    online_charging_flag: int | None = opt(ONLINE_CHARGING_FLAG)
    real_time_tariff_information: bytes | None = opt(REAL_TIME_TARIFF_INFORMATION)
    account_expiration: int | None = opt(ACCOUNT_EXPIRATION)
    initial_ims_charging_identifier: str | None = opt(INITIAL_IMS_CHARGING_IDENTIFIER)
    nni_information: tuple[bytes, ...] = many(NNI_INFORMATION)
    from_address: str | None = opt(FROM_ADDRESS)
    ims_emergency_indicator: int | None = opt(IMS_EMERGENCY_INDICATOR)
    ims_visited_network_identifier: str | None = opt(IMS_VISITED_NETWORK_IDENTIFIER)
    access_network_info_change: tuple[bytes, ...] = many(ACCESS_NETWORK_INFO_CHANGE)
    access_transfer_information: tuple[bytes, ...] = many(ACCESS_TRANSFER_INFORMATION)
    related_ims_charging_identifier: str | None = opt(RELATED_IMS_CHARGING_IDENTIFIER)
    related_ims_charging_identifier_node: HostAddress | None = opt(RELATED_IMS_CHARGING_IDENTIFIER_NODE)
    route_header_received: str | None = opt(ROUTE_HEADER_RECEIVED)
    route_header_transmitted: str | None = opt(ROUTE_HEADER_TRANSMITTED)
    instance_id: str | None = opt(INSTANCE_ID)
    tad_identifier: int | None = opt(TAD_IDENTIFIER)
    fe_identifier_list: str | None = opt(FE_IDENTIFIER_LIST)


IMS_INFORMATION = tgpp("IMS-Information", 876, grouped(ImsInformation))


class SmsInformation(Group, lenient=True, lazy=True):
    sms_node: int | None = opt(SMS_NODE)
    client_address: HostAddress | None = opt(CLIENT_ADDRESS)
    originator_sccp_address: HostAddress | None = opt(ORIGINATOR_SCCP_ADDRESS)
    smsc_address: HostAddress | None = opt(SMSC_ADDRESS)
    data_coding_scheme: int | None = opt(DATA_CODING_SCHEME)
    sm_discharge_time: int | None = opt(SM_DISCHARGE_TIME)
    sm_message_type: int | None = opt(SM_MESSAGE_TYPE)
    originator_interface: bytes | None = opt(ORIGINATOR_INTERFACE)
    sm_protocol_id: bytes | None = opt(SM_PROTOCOL_ID)
    reply_path_requested: int | None = opt(REPLY_PATH_REQUESTED)
    sm_status: bytes | None = opt(SM_STATUS)
    sm_user_data_header: bytes | None = opt(SM_USER_DATA_HEADER)
    number_of_messages_sent: int | None = opt(NUMBER_OF_MESSAGES_SENT)
    sm_sequence_number: int | None = opt(SM_SEQUENCE_NUMBER)
    recipient_info: tuple[RecipientInfo, ...] = many(RECIPIENT_INFO)
    originator_received_address: OriginatorReceivedAddress | None = opt(ORIGINATOR_RECEIVED_ADDRESS)
    sm_service_type: int | None = opt(SM_SERVICE_TYPE)
    sms_result: int | None = opt(SMS_RESULT)
    sm_device_trigger_indicator: int | None = opt(SM_DEVICE_TRIGGER_INDICATOR)
    sm_device_trigger_information: bytes | None = opt(SM_DEVICE_TRIGGER_INFORMATION)
    mtc_iwf_address: HostAddress | None = opt(MTC_IWF_ADDRESS)
    application_port_identifier: int | None = opt(APPLICATION_PORT_IDENTIFIER)
    external_identifier: str | None = opt(EXTERNAL_IDENTIFIER)


SMS_INFORMATION = tgpp("SMS-Information", 2000, grouped(SmsInformation))


class MmsInformation(Group, lenient=True, lazy=True):
    originator_address: OriginatorAddress | None = opt(ORIGINATOR_ADDRESS)
    recipient_address: tuple[RecipientAddress, ...] = many(RECIPIENT_ADDRESS)
    submission_time: int | None = opt(SUBMISSION_TIME)
    mm_content_type: bytes | None = opt(MM_CONTENT_TYPE)
    priority: int | None = opt(PRIORITY)
    message_id: str | None = opt(MESSAGE_ID)
    message_type: int | None = opt(MESSAGE_TYPE)
    message_size: int | None = opt(MESSAGE_SIZE)
    message_class: bytes | None = opt(MESSAGE_CLASS)
    delivery_report_requested: int | None = opt(DELIVERY_REPORT_REQUESTED)
    read_reply_report_requested: int | None = opt(READ_REPLY_REPORT_REQUESTED)
    mmbox_storage_requested: int | None = opt(MMBOX_STORAGE_REQUESTED)
    applic_id: str | None = opt(APPLIC_ID)
    reply_applic_id: str | None = opt(REPLY_APPLIC_ID)
    aux_applic_info: str | None = opt(AUX_APPLIC_INFO)
    content_class: int | None = opt(CONTENT_CLASS)
    drm_content: int | None = opt(DRM_CONTENT)
    adaptations: int | None = opt(ADAPTATIONS)
    vasp_id: str | None = opt(VASP_ID)
    vas_id: str | None = opt(VAS_ID)


MMS_INFORMATION = tgpp("MMS-Information", 877, grouped(MmsInformation))


class ServiceInformation(Group, lenient=True):
    subscription_id: tuple[SubscriptionId, ...] = many(SUBSCRIPTION_ID)
    aoc_information: bytes | None = opt(AOC_INFORMATION)
    ps_information: PsInformation | None = opt(PS_INFORMATION)
    ims_information: ImsInformation | None = opt(IMS_INFORMATION)
    mms_information: MmsInformation | None = opt(MMS_INFORMATION)
    lcs_information: bytes | None = opt(LCS_INFORMATION)
    poc_information: bytes | None = opt(POC_INFORMATION)
    mbms_information: bytes | None = opt(MBMS_INFORMATION)
    sms_information: SmsInformation | None = opt(SMS_INFORMATION)
    vcs_information: bytes | None = opt(VCS_INFORMATION)
    mmtel_information: bytes | None = opt(MMTEL_INFORMATION)
    prose_information: bytes | None = opt(PROSE_INFORMATION)
    service_generic_information: bytes | None = opt(SERVICE_GENERIC_INFORMATION)
    im_information: bytes | None = opt(IM_INFORMATION)
    dcd_information: bytes | None = opt(DCD_INFORMATION)
    cpdt_information: bytes | None = opt(CPDT_INFORMATION)


SERVICE_INFORMATION = tgpp("Service-Information", 873, grouped(ServiceInformation))
