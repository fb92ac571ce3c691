"""Credit control: the AVPs of RFC 8506, and the groups no other specification adds members to."""

from enum import IntEnum

from protocol.diameter.avp import Avp, Group, many, opt, req
from protocol.diameter.dictionary.nasreq import FILTER_ID
from protocol.diameter.dictionary.qos import FILTER_RULE
from protocol.diameter.types import (
    ADDRESS,
    ENUMERATED,
    INTEGER32,
    INTEGER64,
    IP_FILTER_RULE,
    OCTET_STRING,
    TIME,
    UNSIGNED32,
    UNSIGNED64,
    UTF8STRING,
    HostAddress,
    enumerated,
    grouped,
)


class CcRequestType(IntEnum):
    INITIAL_REQUEST = 1
    UPDATE_REQUEST = 2
    TERMINATION_REQUEST = 3
    EVENT_REQUEST = 4


class RequestedAction(IntEnum):
    DIRECT_DEBITING = 0
    REFUND_ACCOUNT = 1
    CHECK_BALANCE = 2
    PRICE_ENQUIRY = 3


class FinalUnitAction(IntEnum):
    TERMINATE = 0
    REDIRECT = 1
    RESTRICT_ACCESS = 2


class TariffChangeUsage(IntEnum):
    UNIT_BEFORE_TARIFF_CHANGE = 0
    UNIT_AFTER_TARIFF_CHANGE = 1
    UNIT_INDETERMINATE = 2


class CcUnitType(IntEnum):
    TIME = 0
    MONEY = 1
    TOTAL_OCTETS = 2
    INPUT_OCTETS = 3
    OUTPUT_OCTETS = 4
    SERVICE_SPECIFIC_UNITS = 5


class RedirectAddressType(IntEnum):
    IPV4_ADDRESS = 0
    IPV6_ADDRESS = 1
    URL = 2
    SIP_URI = 3


class CcSessionFailover(IntEnum):
    FAILOVER_NOT_SUPPORTED = 0
    FAILOVER_SUPPORTED = 1


class CheckBalanceResult(IntEnum):
    ENOUGH_CREDIT = 0
    NO_CREDIT = 1


class CreditControlFailureHandling(IntEnum):
    TERMINATE = 0
    CONTINUE = 1
    RETRY_AND_TERMINATE = 2


class DirectDebitingFailureHandling(IntEnum):
    TERMINATE_OR_BUFFER = 0
    CONTINUE = 1


class MultipleServicesIndicator(IntEnum):
    """Open: the field is an int, an unknown kind of it is for the reader to skip."""

    MULTIPLE_SERVICES_NOT_SUPPORTED = 0
    MULTIPLE_SERVICES_SUPPORTED = 1


class SubscriptionIdType(IntEnum):
    """Open: the field is an int, an unknown kind of it is for the reader to skip."""

    END_USER_E164 = 0
    END_USER_IMSI = 1
    END_USER_SIP_URI = 2
    END_USER_NAI = 3
    END_USER_PRIVATE = 4


class UserEquipmentInfoType(IntEnum):
    """Open: the field is an int, an unknown kind of it is for the reader to skip."""

    IMEISV = 0
    MAC = 1
    EUI64 = 2
    MODIFIED_EUI64 = 3


# ---- AVPs (section 8)

CC_CORRELATION_ID = Avp("CC-Correlation-Id", 411, OCTET_STRING, m=False)
CC_INPUT_OCTETS = Avp("CC-Input-Octets", 412, UNSIGNED64)
CC_OUTPUT_OCTETS = Avp("CC-Output-Octets", 414, UNSIGNED64)
CC_REQUEST_NUMBER = Avp("CC-Request-Number", 415, UNSIGNED32)
CC_REQUEST_TYPE = Avp("CC-Request-Type", 416, enumerated(CcRequestType))
CC_SERVICE_SPECIFIC_UNITS = Avp("CC-Service-Specific-Units", 417, UNSIGNED64)
CC_SESSION_FAILOVER = Avp("CC-Session-Failover", 418, enumerated(CcSessionFailover))
CC_SUB_SESSION_ID = Avp("CC-Sub-Session-Id", 419, UNSIGNED64)
CC_TIME = Avp("CC-Time", 420, UNSIGNED32)
CC_TOTAL_OCTETS = Avp("CC-Total-Octets", 421, UNSIGNED64)
CHECK_BALANCE_RESULT = Avp("Check-Balance-Result", 422, enumerated(CheckBalanceResult))
COST_UNIT = Avp("Cost-Unit", 424, UTF8STRING)
CURRENCY_CODE = Avp("Currency-Code", 425, UNSIGNED32)
CREDIT_CONTROL = Avp("Credit-Control", 426, ENUMERATED)
CREDIT_CONTROL_FAILURE_HANDLING = Avp("Credit-Control-Failure-Handling", 427, enumerated(CreditControlFailureHandling))
DIRECT_DEBITING_FAILURE_HANDLING = Avp(
    "Direct-Debiting-Failure-Handling", 428, enumerated(DirectDebitingFailureHandling)
)
EXPONENT = Avp("Exponent", 429, INTEGER32)
RATING_GROUP = Avp("Rating-Group", 432, UNSIGNED32)
REDIRECT_ADDRESS_TYPE = Avp("Redirect-Address-Type", 433, enumerated(RedirectAddressType))
REDIRECT_SERVER_ADDRESS = Avp("Redirect-Server-Address", 435, UTF8STRING)
REQUESTED_ACTION = Avp("Requested-Action", 436, ENUMERATED)  # says something in an EVENT only: charging judges it
RESTRICTION_FILTER_RULE = Avp("Restriction-Filter-Rule", 438, IP_FILTER_RULE)
SERVICE_IDENTIFIER = Avp("Service-Identifier", 439, UNSIGNED32)
SERVICE_PARAMETER_TYPE = Avp("Service-Parameter-Type", 441, UNSIGNED32, m=False)
SERVICE_PARAMETER_VALUE = Avp("Service-Parameter-Value", 442, OCTET_STRING, m=False)
SUBSCRIPTION_ID_DATA = Avp("Subscription-Id-Data", 444, UTF8STRING)
VALUE_DIGITS = Avp("Value-Digits", 447, INTEGER64)
VALIDITY_TIME = Avp("Validity-Time", 448, UNSIGNED32)
FINAL_UNIT_ACTION = Avp("Final-Unit-Action", 449, enumerated(FinalUnitAction))
SUBSCRIPTION_ID_TYPE = Avp("Subscription-Id-Type", 450, ENUMERATED)
TARIFF_TIME_CHANGE = Avp("Tariff-Time-Change", 451, TIME)
TARIFF_CHANGE_USAGE = Avp("Tariff-Change-Usage", 452, ENUMERATED)  # of use, which is not refused for it
G_S_U_POOL_IDENTIFIER = Avp("G-S-U-Pool-Identifier", 453, UNSIGNED32)
CC_UNIT_TYPE = Avp("CC-Unit-Type", 454, ENUMERATED)
MULTIPLE_SERVICES_INDICATOR = Avp("Multiple-Services-Indicator", 455, ENUMERATED)
USER_EQUIPMENT_INFO_TYPE = Avp("User-Equipment-Info-Type", 459, ENUMERATED, m=False)
USER_EQUIPMENT_INFO_VALUE = Avp("User-Equipment-Info-Value", 460, OCTET_STRING, m=False)
SERVICE_CONTEXT_ID = Avp("Service-Context-Id", 461, UTF8STRING)
USER_EQUIPMENT_INFO_IMEISV = Avp("User-Equipment-Info-IMEISV", 654, OCTET_STRING, m=False)
USER_EQUIPMENT_INFO_MAC = Avp("User-Equipment-Info-MAC", 655, OCTET_STRING, m=False)
USER_EQUIPMENT_INFO_EUI64 = Avp("User-Equipment-Info-EUI64", 656, OCTET_STRING, m=False)
USER_EQUIPMENT_INFO_MODIFIEDEUI64 = Avp("User-Equipment-Info-ModifiedEUI64", 657, OCTET_STRING, m=False)
USER_EQUIPMENT_INFO_IMEI = Avp("User-Equipment-Info-IMEI", 658, OCTET_STRING, m=False)
SUBSCRIPTION_ID_E164 = Avp("Subscription-Id-E164", 660, UTF8STRING, m=False)
SUBSCRIPTION_ID_IMSI = Avp("Subscription-Id-IMSI", 661, UTF8STRING, m=False)
SUBSCRIPTION_ID_SIP_URI = Avp("Subscription-Id-SIP-URI", 662, UTF8STRING, m=False)
SUBSCRIPTION_ID_NAI = Avp("Subscription-Id-NAI", 663, UTF8STRING, m=False)
SUBSCRIPTION_ID_PRIVATE = Avp("Subscription-Id-Private", 664, UTF8STRING, m=False)
REDIRECT_ADDRESS_IPADDRESS = Avp("Redirect-Address-IPAddress", 666, ADDRESS, m=False)
REDIRECT_ADDRESS_URL = Avp("Redirect-Address-URL", 667, UTF8STRING, m=False)
REDIRECT_ADDRESS_SIP_URI = Avp("Redirect-Address-SIP-URI", 668, UTF8STRING, m=False)


# ---- groups


class UnitValue(Group):
    """value_digits * 10 ** exponent; without an exponent it is 0."""

    value_digits: int = req(VALUE_DIGITS)
    exponent: int | None = opt(EXPONENT)


UNIT_VALUE = Avp("Unit-Value", 445, grouped(UnitValue))


class CcMoney(Group):
    unit_value: UnitValue = req(UNIT_VALUE)
    currency_code: int | None = opt(CURRENCY_CODE)


CC_MONEY = Avp("CC-Money", 413, grouped(CcMoney))


class CostInformation(Group):
    unit_value: UnitValue = req(UNIT_VALUE)
    currency_code: int = req(CURRENCY_CODE)
    cost_unit: str | None = opt(COST_UNIT)


COST_INFORMATION = Avp("Cost-Information", 423, grouped(CostInformation))


class RequestedServiceUnit(Group):
    cc_time: int | None = opt(CC_TIME)
    cc_money: CcMoney | None = opt(CC_MONEY)
    cc_total_octets: int | None = opt(CC_TOTAL_OCTETS)
    cc_input_octets: int | None = opt(CC_INPUT_OCTETS)
    cc_output_octets: int | None = opt(CC_OUTPUT_OCTETS)
    cc_service_specific_units: int | None = opt(CC_SERVICE_SPECIFIC_UNITS)


class GrantedServiceUnit(Group):
    tariff_time_change: int | None = opt(TARIFF_TIME_CHANGE)
    cc_time: int | None = opt(CC_TIME)
    cc_money: CcMoney | None = opt(CC_MONEY)
    cc_total_octets: int | None = opt(CC_TOTAL_OCTETS)
    cc_input_octets: int | None = opt(CC_INPUT_OCTETS)
    cc_output_octets: int | None = opt(CC_OUTPUT_OCTETS)
    cc_service_specific_units: int | None = opt(CC_SERVICE_SPECIFIC_UNITS)


REQUESTED_SERVICE_UNIT = Avp("Requested-Service-Unit", 437, grouped(RequestedServiceUnit))
GRANTED_SERVICE_UNIT = Avp("Granted-Service-Unit", 431, grouped(GrantedServiceUnit))


class RedirectServer(Group):
    redirect_address_type: RedirectAddressType = req(REDIRECT_ADDRESS_TYPE)
    redirect_server_address: str = req(REDIRECT_SERVER_ADDRESS)


class RedirectServerExtension(Group):
    redirect_address_ipaddress: HostAddress | None = opt(REDIRECT_ADDRESS_IPADDRESS)
    redirect_address_url: str | None = opt(REDIRECT_ADDRESS_URL)
    redirect_address_sip_uri: str | None = opt(REDIRECT_ADDRESS_SIP_URI)


REDIRECT_SERVER = Avp("Redirect-Server", 434, grouped(RedirectServer))
REDIRECT_SERVER_EXTENSION = Avp("Redirect-Server-Extension", 665, grouped(RedirectServerExtension), m=False)


class FinalUnitIndication(Group):
    final_unit_action: FinalUnitAction = req(FINAL_UNIT_ACTION)
    restriction_filter_rule: tuple[str, ...] = many(RESTRICTION_FILTER_RULE)
    filter_id: tuple[str, ...] = many(FILTER_ID)
    redirect_server: RedirectServer | None = opt(REDIRECT_SERVER)


class QosFinalUnitIndication(Group):
    final_unit_action: FinalUnitAction = req(FINAL_UNIT_ACTION)
    filter_rule: tuple[bytes, ...] = many(FILTER_RULE)
    filter_id: tuple[str, ...] = many(FILTER_ID)
    redirect_server_extension: RedirectServerExtension | None = opt(REDIRECT_SERVER_EXTENSION)


FINAL_UNIT_INDICATION = Avp("Final-Unit-Indication", 430, grouped(FinalUnitIndication))
QOS_FINAL_UNIT_INDICATION = Avp("QoS-Final-Unit-Indication", 669, grouped(QosFinalUnitIndication), m=False)


class GSUPoolReference(Group):
    g_s_u_pool_identifier: int = req(G_S_U_POOL_IDENTIFIER)
    cc_unit_type: int = req(CC_UNIT_TYPE)
    unit_value: UnitValue = req(UNIT_VALUE)


G_S_U_POOL_REFERENCE = Avp("G-S-U-Pool-Reference", 457, grouped(GSUPoolReference))


class SubscriptionId(Group):
    subscription_id_type: int = req(SUBSCRIPTION_ID_TYPE)
    subscription_id_data: str = req(SUBSCRIPTION_ID_DATA)


class SubscriptionIdExtension(Group):
    """Section 8.58 allows exactly one of them; a message with two is left to the reader to judge."""

    subscription_id_e164: str | None = opt(SUBSCRIPTION_ID_E164)
    subscription_id_imsi: str | None = opt(SUBSCRIPTION_ID_IMSI)
    subscription_id_sip_uri: str | None = opt(SUBSCRIPTION_ID_SIP_URI)
    subscription_id_nai: str | None = opt(SUBSCRIPTION_ID_NAI)
    subscription_id_private: str | None = opt(SUBSCRIPTION_ID_PRIVATE)


SUBSCRIPTION_ID = Avp("Subscription-Id", 443, grouped(SubscriptionId))
SUBSCRIPTION_ID_EXTENSION = Avp("Subscription-Id-Extension", 659, grouped(SubscriptionIdExtension), m=False)


class UserEquipmentInfo(Group, lenient=True):  # sent as text, as digits and as octets: nobody is refused for it
    user_equipment_info_type: int | None = opt(USER_EQUIPMENT_INFO_TYPE)
    user_equipment_info_value: bytes | None = opt(USER_EQUIPMENT_INFO_VALUE)


class UserEquipmentInfoExtension(Group, lenient=True):
    user_equipment_info_imeisv: bytes | None = opt(USER_EQUIPMENT_INFO_IMEISV)
    user_equipment_info_mac: bytes | None = opt(USER_EQUIPMENT_INFO_MAC)
    user_equipment_info_eui64: bytes | None = opt(USER_EQUIPMENT_INFO_EUI64)
    user_equipment_info_modifiedeui64: bytes | None = opt(USER_EQUIPMENT_INFO_MODIFIEDEUI64)
    user_equipment_info_imei: bytes | None = opt(USER_EQUIPMENT_INFO_IMEI)


USER_EQUIPMENT_INFO = Avp("User-Equipment-Info", 458, grouped(UserEquipmentInfo), m=False)
USER_EQUIPMENT_INFO_EXTENSION = Avp("User-Equipment-Info-Extension", 653, grouped(UserEquipmentInfoExtension), m=False)


class ServiceParameterInfo(Group):
    service_parameter_type: int = req(SERVICE_PARAMETER_TYPE)
    service_parameter_value: bytes = req(SERVICE_PARAMETER_VALUE)


SERVICE_PARAMETER_INFO = Avp("Service-Parameter-Info", 440, grouped(ServiceParameterInfo), m=False)
