"""The base protocol: AVPs, groups and commands of RFC 6733."""

from enum import IntEnum
from typing import ClassVar

from protocol.diameter.avp import Avp, Group, many, opt, req
from protocol.diameter.message import DiameterCommand
from protocol.diameter.types import (
    ADDRESS,
    APPLICATION_ID,
    ENUMERATED,
    IDENTITY,
    OCTET_STRING,
    OPAQUE,
    TIME,
    UNSIGNED32,
    UNSIGNED64,
    URI,
    UTF8STRING,
    WHOLE,
    HostAddress,
    enumerated,
    grouped,
)
from protocol.diameter.walk import examples
from protocol.errors import AvpError, ResultCode

RELAY = 0xFFFFFFFF  # the application id of a relay: everything (RFC 6733 section 2.4)


class DisconnectCause(IntEnum):
    REBOOTING = 0
    BUSY = 1
    DO_NOT_WANT_TO_TALK_TO_YOU = 2


class ReAuthRequestType(IntEnum):
    AUTHORIZE_ONLY = 0
    AUTHORIZE_AUTHENTICATE = 1


class AccountingRecordType(IntEnum):
    EVENT_RECORD = 1
    START_RECORD = 2
    INTERIM_RECORD = 3
    STOP_RECORD = 4


class TerminationCause(IntEnum):
    """IANA adds to these, so Termination-Cause is an open enumeration: the field is an int."""

    LOGOUT = 1
    SERVICE_NOT_PROVIDED = 2
    BAD_ANSWER = 3
    ADMINISTRATIVE = 4
    LINK_BROKEN = 5
    AUTH_EXPIRED = 6
    USER_MOVED = 7
    SESSION_TIMEOUT = 8


class InbandSecurity(IntEnum):
    NO_INBAND_SECURITY = 0
    TLS = 1


# ---- AVPs (section 4.5)

USER_NAME = Avp("User-Name", 1, UTF8STRING)
CLASS = Avp("Class", 25, OCTET_STRING)
SESSION_TIMEOUT = Avp("Session-Timeout", 27, UNSIGNED32)
PROXY_STATE = Avp("Proxy-State", 33, OCTET_STRING)
ACCT_SESSION_ID = Avp("Acct-Session-Id", 44, OCTET_STRING)
ACCT_MULTI_SESSION_ID = Avp("Acct-Multi-Session-Id", 50, UTF8STRING)
EVENT_TIMESTAMP = Avp("Event-Timestamp", 55, TIME)
ACCT_INTERIM_INTERVAL = Avp("Acct-Interim-Interval", 85, UNSIGNED32)
HOST_IP_ADDRESS = Avp("Host-IP-Address", 257, ADDRESS)
AUTH_APPLICATION_ID = Avp("Auth-Application-Id", 258, APPLICATION_ID)
ACCT_APPLICATION_ID = Avp("Acct-Application-Id", 259, APPLICATION_ID)
REDIRECT_HOST_USAGE = Avp("Redirect-Host-Usage", 261, ENUMERATED)
REDIRECT_MAX_CACHE_TIME = Avp("Redirect-Max-Cache-Time", 262, UNSIGNED32)
SESSION_ID = Avp("Session-Id", 263, UTF8STRING)
ORIGIN_HOST = Avp("Origin-Host", 264, IDENTITY)
SUPPORTED_VENDOR_ID = Avp("Supported-Vendor-Id", 265, UNSIGNED32)
VENDOR_ID = Avp("Vendor-Id", 266, UNSIGNED32)
FIRMWARE_REVISION = Avp("Firmware-Revision", 267, UNSIGNED32, m=False)
RESULT_CODE = Avp("Result-Code", 268, UNSIGNED32)
PRODUCT_NAME = Avp("Product-Name", 269, UTF8STRING, m=False)
SESSION_BINDING = Avp("Session-Binding", 270, UNSIGNED32)
SESSION_SERVER_FAILOVER = Avp("Session-Server-Failover", 271, ENUMERATED)
MULTI_ROUND_TIME_OUT = Avp("Multi-Round-Time-Out", 272, UNSIGNED32)
DISCONNECT_CAUSE = Avp("Disconnect-Cause", 273, enumerated(DisconnectCause))
AUTH_REQUEST_TYPE = Avp("Auth-Request-Type", 274, ENUMERATED)
AUTH_GRACE_PERIOD = Avp("Auth-Grace-Period", 276, UNSIGNED32)
AUTH_SESSION_STATE = Avp("Auth-Session-State", 277, ENUMERATED)
ORIGIN_STATE_ID = Avp("Origin-State-Id", 278, UNSIGNED32)
FAILED_AVP = Avp("Failed-AVP", 279, OPAQUE)
PROXY_HOST = Avp("Proxy-Host", 280, IDENTITY)
ERROR_MESSAGE = Avp("Error-Message", 281, UTF8STRING, m=False)
ROUTE_RECORD = Avp("Route-Record", 282, IDENTITY)
DESTINATION_REALM = Avp("Destination-Realm", 283, IDENTITY)
PROXY_INFO = Avp("Proxy-Info", 284, WHOLE)
RE_AUTH_REQUEST_TYPE = Avp("Re-Auth-Request-Type", 285, enumerated(ReAuthRequestType))
ACCOUNTING_SUB_SESSION_ID = Avp("Accounting-Sub-Session-Id", 287, UNSIGNED64)
AUTHORIZATION_LIFETIME = Avp("Authorization-Lifetime", 291, UNSIGNED32)
REDIRECT_HOST = Avp("Redirect-Host", 292, URI)
DESTINATION_HOST = Avp("Destination-Host", 293, IDENTITY)
ERROR_REPORTING_HOST = Avp("Error-Reporting-Host", 294, IDENTITY, m=False)
TERMINATION_CAUSE = Avp("Termination-Cause", 295, ENUMERATED)
ORIGIN_REALM = Avp("Origin-Realm", 296, IDENTITY)
EXPERIMENTAL_RESULT_CODE = Avp("Experimental-Result-Code", 298, UNSIGNED32)
INBAND_SECURITY_ID = Avp("Inband-Security-Id", 299, UNSIGNED32)
ACCOUNTING_RECORD_TYPE = Avp("Accounting-Record-Type", 480, enumerated(AccountingRecordType))
ACCOUNTING_REALTIME_REQUIRED = Avp("Accounting-Realtime-Required", 483, ENUMERATED)
ACCOUNTING_RECORD_NUMBER = Avp("Accounting-Record-Number", 485, UNSIGNED32)


class VendorSpecificApplicationId(Group):
    vendor_id: int | None = opt(VENDOR_ID)  # required by section 6.11, and not needed by anybody
    auth_application_id: int | None = opt(AUTH_APPLICATION_ID)
    acct_application_id: int | None = opt(ACCT_APPLICATION_ID)


class ExperimentalResult(Group):
    vendor_id: int = req(VENDOR_ID)
    experimental_result_code: int = req(EXPERIMENTAL_RESULT_CODE)


VENDOR_SPECIFIC_APPLICATION_ID = Avp("Vendor-Specific-Application-Id", 260, grouped(VendorSpecificApplicationId))
EXPERIMENTAL_RESULT = Avp("Experimental-Result", 297, grouped(ExperimentalResult))


# ---- commands (sections 5 and 8). Origin-Host and Origin-Realm come twice from some nodes: the first counts.


class CapabilitiesExchangeRequest(DiameterCommand):
    code: ClassVar[int] = 257
    request: ClassVar[bool] = True
    any_application: ClassVar[bool] = True
    origin_host: str = req(ORIGIN_HOST, surplus=True)
    origin_realm: str = req(ORIGIN_REALM, surplus=True)
    host_ip_address: tuple[HostAddress, ...] = many(HOST_IP_ADDRESS)  # required by RFC 6733, missing from real nodes
    vendor_id: int = req(VENDOR_ID)
    product_name: str = req(PRODUCT_NAME)
    origin_state_id: int | None = opt(ORIGIN_STATE_ID)
    supported_vendor_id: tuple[int, ...] = many(SUPPORTED_VENDOR_ID)
    auth_application_id: tuple[int, ...] = many(AUTH_APPLICATION_ID)
    inband_security_id: tuple[int, ...] = many(INBAND_SECURITY_ID)
    acct_application_id: tuple[int, ...] = many(ACCT_APPLICATION_ID)
    vendor_specific_application_id: tuple[VendorSpecificApplicationId, ...] = many(VENDOR_SPECIFIC_APPLICATION_ID)
    firmware_revision: int | None = opt(FIRMWARE_REVISION)

    def check(self) -> None:
        check_vendor_specific(self.vendor_specific_application_id)


class CapabilitiesExchangeAnswer(DiameterCommand):
    code: ClassVar[int] = 257
    request: ClassVar[bool] = False
    any_application: ClassVar[bool] = True
    result_code: int = req(RESULT_CODE)
    origin_host: str = req(ORIGIN_HOST, surplus=True)
    origin_realm: str = req(ORIGIN_REALM, surplus=True)
    host_ip_address: tuple[HostAddress, ...] = many(HOST_IP_ADDRESS)
    vendor_id: int | None = opt(VENDOR_ID)  # opt: a refusal is often bare
    product_name: str | None = opt(PRODUCT_NAME)
    origin_state_id: int | None = opt(ORIGIN_STATE_ID)
    error_message: str | None = opt(ERROR_MESSAGE)
    failed_avp: tuple[bytes, ...] = many(FAILED_AVP)
    supported_vendor_id: tuple[int, ...] = many(SUPPORTED_VENDOR_ID)
    auth_application_id: tuple[int, ...] = many(AUTH_APPLICATION_ID)
    inband_security_id: tuple[int, ...] = many(INBAND_SECURITY_ID)
    acct_application_id: tuple[int, ...] = many(ACCT_APPLICATION_ID)
    vendor_specific_application_id: tuple[VendorSpecificApplicationId, ...] = many(VENDOR_SPECIFIC_APPLICATION_ID)
    firmware_revision: int | None = opt(FIRMWARE_REVISION)


class DeviceWatchdogRequest(DiameterCommand):
    code: ClassVar[int] = 280
    request: ClassVar[bool] = True
    any_application: ClassVar[bool] = True
    origin_host: str = req(ORIGIN_HOST, surplus=True)
    origin_realm: str = req(ORIGIN_REALM, surplus=True)
    origin_state_id: int | None = opt(ORIGIN_STATE_ID)


class DeviceWatchdogAnswer(DiameterCommand):
    code: ClassVar[int] = 280
    request: ClassVar[bool] = False
    any_application: ClassVar[bool] = True
    result_code: int = req(RESULT_CODE)
    origin_host: str = req(ORIGIN_HOST, surplus=True)
    origin_realm: str = req(ORIGIN_REALM, surplus=True)
    error_message: str | None = opt(ERROR_MESSAGE)
    failed_avp: tuple[bytes, ...] = many(FAILED_AVP)
    origin_state_id: int | None = opt(ORIGIN_STATE_ID)


class DisconnectPeerRequest(DiameterCommand):
    code: ClassVar[int] = 282
    request: ClassVar[bool] = True
    any_application: ClassVar[bool] = True
    origin_host: str = req(ORIGIN_HOST, surplus=True)
    origin_realm: str = req(ORIGIN_REALM, surplus=True)
    disconnect_cause: DisconnectCause = req(DISCONNECT_CAUSE)


class DisconnectPeerAnswer(DiameterCommand):
    code: ClassVar[int] = 282
    request: ClassVar[bool] = False
    any_application: ClassVar[bool] = True
    result_code: int = req(RESULT_CODE)
    origin_host: str = req(ORIGIN_HOST, surplus=True)
    origin_realm: str = req(ORIGIN_REALM, surplus=True)
    error_message: str | None = opt(ERROR_MESSAGE)
    failed_avp: tuple[bytes, ...] = many(FAILED_AVP)


class ErrorAnswer(DiameterCommand):
    """The grammar of every answer with the E bit (section 7.2), whatever its command."""

    request: ClassVar[bool] = False
    error: ClassVar[bool] = True
    any_application: ClassVar[bool] = True
    session_id: str | None = opt(SESSION_ID)
    origin_host: str = req(ORIGIN_HOST, surplus=True)
    origin_realm: str = req(ORIGIN_REALM, surplus=True)
    result_code: int = req(RESULT_CODE)
    origin_state_id: int | None = opt(ORIGIN_STATE_ID)
    error_message: str | None = opt(ERROR_MESSAGE)
    error_reporting_host: str | None = opt(ERROR_REPORTING_HOST)
    failed_avp: tuple[bytes, ...] = many(FAILED_AVP)
    experimental_result: ExperimentalResult | None = opt(EXPERIMENTAL_RESULT)
    redirect_host: tuple[str, ...] = many(REDIRECT_HOST)
    redirect_host_usage: int | None = opt(REDIRECT_HOST_USAGE)
    redirect_max_cache_time: int | None = opt(REDIRECT_MAX_CACHE_TIME)
    proxy_info: tuple[bytes, ...] = many(PROXY_INFO)


# ---- session commands of the base protocol, used by credit control (application 4) and others


class SessionAnswer(DiameterCommand):
    """What RAA, ASA and STA have in common (sections 8.3.2, 8.4.2, 8.5.2)."""

    request: ClassVar[bool] = False
    application: ClassVar[int] = 4
    any_application: ClassVar[bool] = True
    session_id: str = req(SESSION_ID)
    result_code: int | None = opt(RESULT_CODE)  # opt: an application may send Experimental-Result instead
    origin_host: str = req(ORIGIN_HOST, surplus=True)
    origin_realm: str = req(ORIGIN_REALM, surplus=True)
    experimental_result: ExperimentalResult | None = opt(EXPERIMENTAL_RESULT)
    user_name: str | None = opt(USER_NAME)
    origin_state_id: int | None = opt(ORIGIN_STATE_ID)
    error_message: str | None = opt(ERROR_MESSAGE)
    error_reporting_host: str | None = opt(ERROR_REPORTING_HOST)
    failed_avp: tuple[bytes, ...] = many(FAILED_AVP)
    redirect_host: tuple[str, ...] = many(REDIRECT_HOST)
    redirect_host_usage: int | None = opt(REDIRECT_HOST_USAGE)
    redirect_max_cache_time: int | None = opt(REDIRECT_MAX_CACHE_TIME)
    proxy_info: tuple[bytes, ...] = many(PROXY_INFO)


class ReAuthAnswer(SessionAnswer):
    code: ClassVar[int] = 258


class AbortSessionRequest(DiameterCommand):
    code: ClassVar[int] = 274
    request: ClassVar[bool] = True
    application: ClassVar[int] = 4
    any_application: ClassVar[bool] = True
    session_id: str = req(SESSION_ID)
    origin_host: str = req(ORIGIN_HOST, surplus=True)
    origin_realm: str = req(ORIGIN_REALM, surplus=True)
    destination_realm: str = req(DESTINATION_REALM)
    destination_host: str = req(DESTINATION_HOST)
    auth_application_id: int = req(AUTH_APPLICATION_ID)
    user_name: str | None = opt(USER_NAME)
    origin_state_id: int | None = opt(ORIGIN_STATE_ID)
    proxy_info: tuple[bytes, ...] = many(PROXY_INFO)
    route_record: tuple[str, ...] = many(ROUTE_RECORD)


class AbortSessionAnswer(SessionAnswer):
    code: ClassVar[int] = 274


class SessionTerminationRequest(DiameterCommand):
    code: ClassVar[int] = 275
    request: ClassVar[bool] = True
    application: ClassVar[int] = 4
    any_application: ClassVar[bool] = True
    session_id: str = req(SESSION_ID)
    origin_host: str = req(ORIGIN_HOST, surplus=True)
    origin_realm: str = req(ORIGIN_REALM, surplus=True)
    destination_realm: str = req(DESTINATION_REALM)
    auth_application_id: int = req(AUTH_APPLICATION_ID)
    termination_cause: int = req(TERMINATION_CAUSE)
    user_name: str | None = opt(USER_NAME)
    destination_host: str | None = opt(DESTINATION_HOST)
    class_: tuple[bytes, ...] = many(CLASS)
    origin_state_id: int | None = opt(ORIGIN_STATE_ID)
    proxy_info: tuple[bytes, ...] = many(PROXY_INFO)
    route_record: tuple[str, ...] = many(ROUTE_RECORD)


class SessionTerminationAnswer(SessionAnswer):
    code: ClassVar[int] = 275
    class_: tuple[bytes, ...] = many(CLASS)


def check_vendor_specific(ids: tuple[VendorSpecificApplicationId, ...]) -> None:
    """Section 6.11: one of the two ids, else 5005 with examples of both. That both are there is tolerated."""
    for one in ids:
        if one.auth_application_id is None and one.acct_application_id is None:
            failed = VENDOR_SPECIFIC_APPLICATION_ID.pack(
                VendorSpecificApplicationId(
                    vendor_id=one.vendor_id, others=(examples(AUTH_APPLICATION_ID, ACCT_APPLICATION_ID),)
                )
            )
            raise AvpError(ResultCode.MISSING_AVP, "Vendor-Specific-Application-Id names no application", failed)
