"""Accounting (RFC 6733 section 9.7) as the Rf interface of TS 32.299 uses it."""

from typing import ClassVar

from protocol.diameter.avp import many, opt, req
from protocol.diameter.dictionary.base import (
    ACCOUNTING_REALTIME_REQUIRED,
    ACCOUNTING_RECORD_NUMBER,
    ACCOUNTING_RECORD_TYPE,
    ACCOUNTING_SUB_SESSION_ID,
    ACCT_APPLICATION_ID,
    ACCT_INTERIM_INTERVAL,
    ACCT_MULTI_SESSION_ID,
    ACCT_SESSION_ID,
    DESTINATION_HOST,
    DESTINATION_REALM,
    ERROR_MESSAGE,
    ERROR_REPORTING_HOST,
    EVENT_TIMESTAMP,
    EXPERIMENTAL_RESULT,
    FAILED_AVP,
    ORIGIN_HOST,
    ORIGIN_REALM,
    ORIGIN_STATE_ID,
    PROXY_INFO,
    RESULT_CODE,
    ROUTE_RECORD,
    SESSION_ID,
    USER_NAME,
    VENDOR_SPECIFIC_APPLICATION_ID,
    AccountingRecordType,
    ExperimentalResult,
    VendorSpecificApplicationId,
)
from protocol.diameter.dictionary.credit_values import SERVICE_CONTEXT_ID
from protocol.diameter.dictionary.tgpp_charging import SERVICE_INFORMATION, ServiceInformation
from protocol.diameter.message import DiameterCommand

APPLICATION = 3


class AccountingRequest(DiameterCommand):
    code: ClassVar[int] = 271
    request: ClassVar[bool] = True
    application: ClassVar[int] = APPLICATION
    session_id: str = req(SESSION_ID)
    origin_host: str = req(ORIGIN_HOST, surplus=True)
    origin_realm: str = req(ORIGIN_REALM, surplus=True)
    destination_realm: str = req(DESTINATION_REALM)
    accounting_record_type: AccountingRecordType = req(ACCOUNTING_RECORD_TYPE)
    accounting_record_number: int = req(ACCOUNTING_RECORD_NUMBER)
    acct_application_id: int | None = opt(ACCT_APPLICATION_ID)
    vendor_specific_application_id: VendorSpecificApplicationId | None = opt(VENDOR_SPECIFIC_APPLICATION_ID)
    user_name: str | None = opt(USER_NAME)
    destination_host: str | None = opt(DESTINATION_HOST)
    accounting_sub_session_id: int | None = opt(ACCOUNTING_SUB_SESSION_ID)
    acct_session_id: bytes | None = opt(ACCT_SESSION_ID)
    acct_multi_session_id: str | None = opt(ACCT_MULTI_SESSION_ID)
    acct_interim_interval: int | None = opt(ACCT_INTERIM_INTERVAL)
    accounting_realtime_required: int | None = opt(ACCOUNTING_REALTIME_REQUIRED)
    origin_state_id: int | None = opt(ORIGIN_STATE_ID)
    event_timestamp: int | None = opt(EVENT_TIMESTAMP)
    proxy_info: tuple[bytes, ...] = many(PROXY_INFO)
    route_record: tuple[str, ...] = many(ROUTE_RECORD)
    service_context_id: str | None = opt(SERVICE_CONTEXT_ID)
    service_information: ServiceInformation | None = opt(SERVICE_INFORMATION)


class AccountingAnswer(DiameterCommand):
    code: ClassVar[int] = 271
    request: ClassVar[bool] = False
    application: ClassVar[int] = APPLICATION
    session_id: str = req(SESSION_ID)
    result_code: int = req(RESULT_CODE)
    origin_host: str = req(ORIGIN_HOST, surplus=True)
    origin_realm: str = req(ORIGIN_REALM, surplus=True)
    accounting_record_type: AccountingRecordType = req(ACCOUNTING_RECORD_TYPE)
    accounting_record_number: int = req(ACCOUNTING_RECORD_NUMBER)
    acct_application_id: int | None = opt(ACCT_APPLICATION_ID)
    experimental_result: ExperimentalResult | None = opt(EXPERIMENTAL_RESULT)
    user_name: str | None = opt(USER_NAME)
    acct_interim_interval: int | None = opt(ACCT_INTERIM_INTERVAL)
    error_message: str | None = opt(ERROR_MESSAGE)
    error_reporting_host: str | None = opt(ERROR_REPORTING_HOST)
    failed_avp: tuple[bytes, ...] = many(FAILED_AVP)
    origin_state_id: int | None = opt(ORIGIN_STATE_ID)
    event_timestamp: int | None = opt(EVENT_TIMESTAMP)
    proxy_info: tuple[bytes, ...] = many(PROXY_INFO)
