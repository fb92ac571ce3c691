"""Credit control: the commands of RFC 8506 as TS 32.299 uses them, and the groups both specifications fill.

Everything of RFC 8506 can be imported from here.
"""

from typing import ClassVar

from protocol.diameter.avp import Avp, Group, many, opt, req
from protocol.diameter.dictionary.base import (
    ACCT_MULTI_SESSION_ID,
    AUTH_APPLICATION_ID,
    DESTINATION_HOST,
    DESTINATION_REALM,
    ERROR_MESSAGE,
    EVENT_TIMESTAMP,
    EXPERIMENTAL_RESULT,
    FAILED_AVP,
    ORIGIN_HOST,
    ORIGIN_REALM,
    ORIGIN_STATE_ID,
    PROXY_INFO,
    RE_AUTH_REQUEST_TYPE,
    REDIRECT_HOST,
    REDIRECT_HOST_USAGE,
    REDIRECT_MAX_CACHE_TIME,
    RESULT_CODE,
    ROUTE_RECORD,
    SESSION_ID,
    TERMINATION_CAUSE,
    USER_NAME,
    VENDOR_SPECIFIC_APPLICATION_ID,
    ExperimentalResult,
    ReAuthRequestType,
    VendorSpecificApplicationId,
    check_vendor_specific,
)
from protocol.diameter.dictionary.credit_values import (
    CC_CORRELATION_ID,
    CC_INPUT_OCTETS,
    CC_MONEY,
    CC_OUTPUT_OCTETS,
    CC_REQUEST_NUMBER,
    CC_REQUEST_TYPE,
    CC_SERVICE_SPECIFIC_UNITS,
    CC_SESSION_FAILOVER,
    CC_SUB_SESSION_ID,
    CC_TIME,
    CC_TOTAL_OCTETS,
    CHECK_BALANCE_RESULT,
    COST_INFORMATION,
    CREDIT_CONTROL_FAILURE_HANDLING,
    DIRECT_DEBITING_FAILURE_HANDLING,
    FINAL_UNIT_INDICATION,
    G_S_U_POOL_IDENTIFIER,
    G_S_U_POOL_REFERENCE,
    GRANTED_SERVICE_UNIT,
    MULTIPLE_SERVICES_INDICATOR,
    QOS_FINAL_UNIT_INDICATION,
    RATING_GROUP,
    REQUESTED_ACTION,
    REQUESTED_SERVICE_UNIT,
    SERVICE_CONTEXT_ID,
    SERVICE_IDENTIFIER,
    SERVICE_PARAMETER_INFO,
    SUBSCRIPTION_ID,
    SUBSCRIPTION_ID_EXTENSION,
    TARIFF_CHANGE_USAGE,
    USER_EQUIPMENT_INFO,
    USER_EQUIPMENT_INFO_EXTENSION,
    VALIDITY_TIME,
    CcMoney,
    CcRequestType,
    CcSessionFailover,
    CcUnitType,
    CheckBalanceResult,
    CostInformation,
    CreditControlFailureHandling,
    DirectDebitingFailureHandling,
    FinalUnitAction,
    FinalUnitIndication,
    GrantedServiceUnit,
    GSUPoolReference,
    MultipleServicesIndicator,
    QosFinalUnitIndication,
    RedirectAddressType,
    RedirectServer,
    RedirectServerExtension,
    RequestedAction,
    RequestedServiceUnit,
    ServiceParameterInfo,
    SubscriptionId,
    SubscriptionIdExtension,
    SubscriptionIdType,
    TariffChangeUsage,
    UnitValue,
    UserEquipmentInfo,
    UserEquipmentInfoExtension,
    UserEquipmentInfoType,
)
from protocol.diameter.dictionary.tgpp_charging import (
    AF_CORRELATION_INFORMATION,
    ANNOUNCEMENT_INFORMATION,
    AOC_REQUEST_TYPE,
    ENVELOPE,
    ENVELOPE_REPORTING,
    EVENT_CHARGING_TIMESTAMP,
    LOW_BALANCE_INDICATION,
    PS_FURNISH_CHARGING_INFORMATION,
    QOS_INFORMATION,
    QUOTA_CONSUMPTION_TIME,
    QUOTA_HOLDING_TIME,
    REFUND_INFORMATION,
    RELATED_TRIGGER,
    REMAINING_BALANCE,
    REPORTING_REASON,
    SERVICE_INFORMATION,
    SERVICE_SPECIFIC_INFO,
    TGPP_RAT_TYPE,
    TIME_QUOTA_MECHANISM,
    TIME_QUOTA_THRESHOLD,
    TRIGGER,
    UNIT_QUOTA_THRESHOLD,
    VOLUME_QUOTA_THRESHOLD,
    RemainingBalance,
    ServiceInformation,
    TimeQuotaMechanism,
    Trigger,
)
from protocol.diameter.message import DiameterCommand
from protocol.diameter.types import grouped
from protocol.errors import AvpError, ResultCode

APPLICATION = 4


class UsedServiceUnit(Group):
    reporting_reason: int | None = opt(REPORTING_REASON)
    tariff_change_usage: int | None = opt(TARIFF_CHANGE_USAGE)
    cc_time: int | None = opt(CC_TIME)
    cc_money: CcMoney | None = opt(CC_MONEY)
    cc_total_octets: int | None = opt(CC_TOTAL_OCTETS)
    cc_input_octets: int | None = opt(CC_INPUT_OCTETS)
    cc_output_octets: int | None = opt(CC_OUTPUT_OCTETS)
    cc_service_specific_units: int | None = opt(CC_SERVICE_SPECIFIC_UNITS)
    event_charging_timestamp: tuple[int, ...] = many(EVENT_CHARGING_TIMESTAMP)


USED_SERVICE_UNIT = Avp("Used-Service-Unit", 446, grouped(UsedServiceUnit))


class MultipleServicesCreditControl(Group):
    granted_service_unit: GrantedServiceUnit | None = opt(GRANTED_SERVICE_UNIT)
    requested_service_unit: RequestedServiceUnit | None = opt(REQUESTED_SERVICE_UNIT)
    used_service_unit: tuple[UsedServiceUnit, ...] = many(USED_SERVICE_UNIT)
    tariff_change_usage: int | None = opt(TARIFF_CHANGE_USAGE)
    service_identifier: tuple[int, ...] = many(SERVICE_IDENTIFIER)
    rating_group: int | None = opt(RATING_GROUP)
    g_s_u_pool_reference: tuple[GSUPoolReference, ...] = many(G_S_U_POOL_REFERENCE)
    validity_time: int | None = opt(VALIDITY_TIME)
    result_code: int | None = opt(RESULT_CODE)
    final_unit_indication: FinalUnitIndication | None = opt(FINAL_UNIT_INDICATION)
    qos_final_unit_indication: QosFinalUnitIndication | None = opt(QOS_FINAL_UNIT_INDICATION)
    # TS 32.299 section 7.2 adds:
    time_quota_threshold: int | None = opt(TIME_QUOTA_THRESHOLD)
    volume_quota_threshold: int | None = opt(VOLUME_QUOTA_THRESHOLD)
    unit_quota_threshold: int | None = opt(UNIT_QUOTA_THRESHOLD)
    quota_holding_time: int | None = opt(QUOTA_HOLDING_TIME)
    quota_consumption_time: int | None = opt(QUOTA_CONSUMPTION_TIME)
    reporting_reason: tuple[int, ...] = many(REPORTING_REASON)
    trigger: Trigger | None = opt(TRIGGER)
    ps_furnish_charging_information: bytes | None = opt(PS_FURNISH_CHARGING_INFORMATION)
    refund_information: bytes | None = opt(REFUND_INFORMATION)
    af_correlation_information: tuple[bytes, ...] = many(AF_CORRELATION_INFORMATION)
    envelope: tuple[bytes, ...] = many(ENVELOPE)
    envelope_reporting: int | None = opt(ENVELOPE_REPORTING)
    time_quota_mechanism: TimeQuotaMechanism | None = opt(TIME_QUOTA_MECHANISM)
    service_specific_info: tuple[bytes, ...] = many(SERVICE_SPECIFIC_INFO)
    qos_information: bytes | None = opt(QOS_INFORMATION)
    announcement_information: tuple[bytes, ...] = many(ANNOUNCEMENT_INFORMATION)
    tgpp_rat_type: bytes | None = opt(TGPP_RAT_TYPE)
    related_trigger: bytes | None = opt(RELATED_TRIGGER)


MULTIPLE_SERVICES_CREDIT_CONTROL = Avp("Multiple-Services-Credit-Control", 456, grouped(MultipleServicesCreditControl))


class CreditControlRequest(DiameterCommand):
    """Section 3.1. Either Auth-Application-Id or Vendor-Specific-Application-Id names the application."""

    code: ClassVar[int] = 272
    request: ClassVar[bool] = True
    application: ClassVar[int] = APPLICATION
    session_id: str = req(SESSION_ID)
    origin_host: str = req(ORIGIN_HOST, surplus=True)
    origin_realm: str = req(ORIGIN_REALM, surplus=True)
    destination_realm: str = req(DESTINATION_REALM)
    auth_application_id: int | None = opt(AUTH_APPLICATION_ID)
    vendor_specific_application_id: tuple[VendorSpecificApplicationId, ...] = many(VENDOR_SPECIFIC_APPLICATION_ID)
    service_context_id: str = req(SERVICE_CONTEXT_ID)
    cc_request_type: CcRequestType = req(CC_REQUEST_TYPE)
    cc_request_number: int = req(CC_REQUEST_NUMBER)
    destination_host: str | None = opt(DESTINATION_HOST)
    user_name: str | None = opt(USER_NAME)
    cc_sub_session_id: int | None = opt(CC_SUB_SESSION_ID)
    acct_multi_session_id: str | None = opt(ACCT_MULTI_SESSION_ID)
    origin_state_id: int | None = opt(ORIGIN_STATE_ID)
    event_timestamp: int | None = opt(EVENT_TIMESTAMP)
    subscription_id: tuple[SubscriptionId, ...] = many(SUBSCRIPTION_ID)
    subscription_id_extension: tuple[SubscriptionIdExtension, ...] = many(SUBSCRIPTION_ID_EXTENSION)
    service_identifier: int | None = opt(SERVICE_IDENTIFIER)
    termination_cause: int | None = opt(TERMINATION_CAUSE)
    requested_service_unit: RequestedServiceUnit | None = opt(REQUESTED_SERVICE_UNIT)
    requested_action: int | None = opt(REQUESTED_ACTION)
    used_service_unit: tuple[UsedServiceUnit, ...] = many(USED_SERVICE_UNIT)
    aoc_request_type: int | None = opt(AOC_REQUEST_TYPE)
    multiple_services_indicator: int | None = opt(MULTIPLE_SERVICES_INDICATOR)
    multiple_services_credit_control: tuple[MultipleServicesCreditControl, ...] = many(MULTIPLE_SERVICES_CREDIT_CONTROL)
    service_parameter_info: tuple[ServiceParameterInfo, ...] = many(SERVICE_PARAMETER_INFO)
    cc_correlation_id: bytes | None = opt(CC_CORRELATION_ID)
    user_equipment_info: UserEquipmentInfo | None = opt(USER_EQUIPMENT_INFO)
    user_equipment_info_extension: UserEquipmentInfoExtension | None = opt(USER_EQUIPMENT_INFO_EXTENSION)
    proxy_info: tuple[bytes, ...] = many(PROXY_INFO)
    route_record: tuple[str, ...] = many(ROUTE_RECORD)
    service_information: ServiceInformation | None = opt(SERVICE_INFORMATION)

    # Section 10.1: these belong to answers.
    forbidden = (
        RESULT_CODE,
        GRANTED_SERVICE_UNIT,
        FINAL_UNIT_INDICATION,
        QOS_FINAL_UNIT_INDICATION,
        VALIDITY_TIME,
        COST_INFORMATION,
        CREDIT_CONTROL_FAILURE_HANDLING,
        DIRECT_DEBITING_FAILURE_HANDLING,
        CC_SESSION_FAILOVER,
        CHECK_BALANCE_RESULT,
        FAILED_AVP,
        REDIRECT_HOST,
        REDIRECT_HOST_USAGE,
        REDIRECT_MAX_CACHE_TIME,
    )

    def check(self) -> None:
        self._check_application()
        if self.cc_request_type == CcRequestType.EVENT_REQUEST and self.requested_action is None:
            why = "an EVENT_REQUEST must say its Requested-Action (section 8.41)"
            raise AvpError(ResultCode.MISSING_AVP, why, REQUESTED_ACTION.example())

    def _check_application(self) -> None:
        # RFC 6733 section 3: the id of the header equals that of any Application-Id AVP.
        if self.auth_application_id is not None and self.auth_application_id != self.application:
            failed = AUTH_APPLICATION_ID.pack(self.auth_application_id)
            why = f"Auth-Application-Id {self.auth_application_id} in a message of application {self.application}"
            raise AvpError(ResultCode.INVALID_AVP_VALUE, why, failed)
        check_vendor_specific(self.vendor_specific_application_id)
        if self.auth_application_id is None and not self.vendor_specific_application_id:
            raise AvpError(ResultCode.MISSING_AVP, f"{AUTH_APPLICATION_ID} is missing", AUTH_APPLICATION_ID.example())


class CreditControlAnswer(DiameterCommand):
    """Section 3.2."""

    code: ClassVar[int] = 272
    request: ClassVar[bool] = False
    application: ClassVar[int] = APPLICATION
    session_id: str = req(SESSION_ID)
    result_code: int = req(RESULT_CODE)
    origin_host: str = req(ORIGIN_HOST, surplus=True)
    origin_realm: str = req(ORIGIN_REALM, surplus=True)
    auth_application_id: int = req(AUTH_APPLICATION_ID)
    cc_request_type: CcRequestType = req(CC_REQUEST_TYPE)
    cc_request_number: int = req(CC_REQUEST_NUMBER)
    experimental_result: ExperimentalResult | None = opt(EXPERIMENTAL_RESULT)
    user_name: str | None = opt(USER_NAME)
    cc_session_failover: CcSessionFailover | None = opt(CC_SESSION_FAILOVER)
    cc_sub_session_id: int | None = opt(CC_SUB_SESSION_ID)
    acct_multi_session_id: str | None = opt(ACCT_MULTI_SESSION_ID)
    origin_state_id: int | None = opt(ORIGIN_STATE_ID)
    event_timestamp: int | None = opt(EVENT_TIMESTAMP)
    granted_service_unit: GrantedServiceUnit | None = opt(GRANTED_SERVICE_UNIT)
    multiple_services_credit_control: tuple[MultipleServicesCreditControl, ...] = many(MULTIPLE_SERVICES_CREDIT_CONTROL)
    cost_information: CostInformation | None = opt(COST_INFORMATION)
    low_balance_indication: int | None = opt(LOW_BALANCE_INDICATION)
    remaining_balance: RemainingBalance | None = opt(REMAINING_BALANCE)
    final_unit_indication: FinalUnitIndication | None = opt(FINAL_UNIT_INDICATION)
    qos_final_unit_indication: QosFinalUnitIndication | None = opt(QOS_FINAL_UNIT_INDICATION)
    check_balance_result: CheckBalanceResult | None = opt(CHECK_BALANCE_RESULT)
    credit_control_failure_handling: CreditControlFailureHandling | None = opt(CREDIT_CONTROL_FAILURE_HANDLING)
    direct_debiting_failure_handling: DirectDebitingFailureHandling | None = opt(DIRECT_DEBITING_FAILURE_HANDLING)
    validity_time: int | None = opt(VALIDITY_TIME)
    redirect_host: tuple[str, ...] = many(REDIRECT_HOST)
    redirect_host_usage: int | None = opt(REDIRECT_HOST_USAGE)
    redirect_max_cache_time: int | None = opt(REDIRECT_MAX_CACHE_TIME)
    error_message: str | None = opt(ERROR_MESSAGE)
    failed_avp: tuple[bytes, ...] = many(FAILED_AVP)
    proxy_info: tuple[bytes, ...] = many(PROXY_INFO)
    route_record: tuple[str, ...] = many(ROUTE_RECORD)
    service_information: ServiceInformation | None = opt(SERVICE_INFORMATION)


class ReAuthRequest(DiameterCommand):
    """RFC 6733 section 8.3.1 with what RFC 8506 section 10.2 adds: none of the last four = the whole session."""

    code: ClassVar[int] = 258
    request: ClassVar[bool] = True
    application: ClassVar[int] = APPLICATION
    any_application: ClassVar[bool] = True
    session_id: str = req(SESSION_ID)
    origin_host: str = req(ORIGIN_HOST, surplus=True)
    origin_realm: str = req(ORIGIN_REALM, surplus=True)
    destination_realm: str = req(DESTINATION_REALM)
    destination_host: str = req(DESTINATION_HOST)
    auth_application_id: int = req(AUTH_APPLICATION_ID)
    re_auth_request_type: ReAuthRequestType = req(RE_AUTH_REQUEST_TYPE)
    user_name: str | None = opt(USER_NAME)
    origin_state_id: int | None = opt(ORIGIN_STATE_ID)
    proxy_info: tuple[bytes, ...] = many(PROXY_INFO)
    route_record: tuple[str, ...] = many(ROUTE_RECORD)
    cc_sub_session_id: int | None = opt(CC_SUB_SESSION_ID)
    g_s_u_pool_identifier: int | None = opt(G_S_U_POOL_IDENTIFIER)
    service_identifier: int | None = opt(SERVICE_IDENTIFIER)
    rating_group: int | None = opt(RATING_GROUP)


__all__ = (
    "APPLICATION",
    "CcMoney",
    "CcRequestType",
    "CcSessionFailover",
    "CcUnitType",
    "CheckBalanceResult",
    "CostInformation",
    "CreditControlAnswer",
    "CreditControlFailureHandling",
    "CreditControlRequest",
    "DirectDebitingFailureHandling",
    "FinalUnitAction",
    "FinalUnitIndication",
    "GSUPoolReference",
    "GrantedServiceUnit",
    "MultipleServicesCreditControl",
    "MultipleServicesIndicator",
    "QosFinalUnitIndication",
    "ReAuthRequest",
    "RedirectAddressType",
    "RedirectServer",
    "RedirectServerExtension",
    "RemainingBalance",
    "RequestedAction",
    "RequestedServiceUnit",
    "ServiceParameterInfo",
    "SubscriptionId",
    "SubscriptionIdExtension",
    "SubscriptionIdType",
    "TariffChangeUsage",
    "TimeQuotaMechanism",
    "Trigger",
    "UnitValue",
    "UsedServiceUnit",
    "UserEquipmentInfo",
    "UserEquipmentInfoExtension",
    "UserEquipmentInfoType",
)
