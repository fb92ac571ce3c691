"""Attributes of the IETF that a charging server reads, sends or shows (RFC 2865 to 2869, 3162, 4372, 4818, 5176, 6911,
7055, 7930 and others)."""

from protocol.radius.attribute import Attribute
from protocol.radius.dictionary.values import (
    AcctAuthentic,
    AcctStatusType,
    AcctTerminateCause,
    ErrorCause,
    FramedProtocol,
    NasPortType,
    ServiceType,
    TerminationAction,
    TunnelMediumType,
    TunnelType,
)
from protocol.radius.types import (
    CONCAT,
    ENUM,
    IFID,
    INTEGER,
    IPV4ADDR,
    IPV6ADDR,
    IPV6PREFIX,
    RULES,
    STRING,
    TEXT,
    TIME,
    TLV,
)

USER_NAME = Attribute("User-Name", 1, TEXT)
USER_PASSWORD = Attribute("User-Password", 2, STRING, encrypt=1)
CHAP_PASSWORD = Attribute("CHAP-Password", 3, STRING)
NAS_IP_ADDRESS = Attribute("NAS-IP-Address", 4, IPV4ADDR)
NAS_PORT = Attribute("NAS-Port", 5, INTEGER)
SERVICE_TYPE = Attribute("Service-Type", 6, ENUM, values=ServiceType)
FRAMED_PROTOCOL = Attribute("Framed-Protocol", 7, ENUM, values=FramedProtocol)
FRAMED_IP_ADDRESS = Attribute("Framed-IP-Address", 8, IPV4ADDR)
FRAMED_IP_NETMASK = Attribute("Framed-IP-Netmask", 9, IPV4ADDR)
FRAMED_ROUTING = Attribute("Framed-Routing", 10, ENUM)
FILTER_ID = Attribute("Filter-Id", 11, TEXT)
FRAMED_MTU = Attribute("Framed-MTU", 12, INTEGER)
FRAMED_COMPRESSION = Attribute("Framed-Compression", 13, ENUM)
LOGIN_IP_HOST = Attribute("Login-IP-Host", 14, IPV4ADDR)
LOGIN_SERVICE = Attribute("Login-Service", 15, ENUM)
LOGIN_TCP_PORT = Attribute("Login-TCP-Port", 16, ENUM)
REPLY_MESSAGE = Attribute("Reply-Message", 18, TEXT)
CALLBACK_NUMBER = Attribute("Callback-Number", 19, TEXT)
CALLBACK_ID = Attribute("Callback-Id", 20, TEXT)
FRAMED_ROUTE = Attribute("Framed-Route", 22, TEXT)
STATE = Attribute("State", 24, STRING)
CLASS = Attribute("Class", 25, STRING)
SESSION_TIMEOUT = Attribute("Session-Timeout", 27, INTEGER)
IDLE_TIMEOUT = Attribute("Idle-Timeout", 28, INTEGER)
TERMINATION_ACTION = Attribute("Termination-Action", 29, ENUM, values=TerminationAction)
CALLED_STATION_ID = Attribute("Called-Station-Id", 30, TEXT)
CALLING_STATION_ID = Attribute("Calling-Station-Id", 31, TEXT)
NAS_IDENTIFIER = Attribute("NAS-Identifier", 32, TEXT)
PROXY_STATE = Attribute("Proxy-State", 33, STRING)
ACCT_STATUS_TYPE = Attribute("Acct-Status-Type", 40, ENUM, values=AcctStatusType)
ACCT_DELAY_TIME = Attribute("Acct-Delay-Time", 41, INTEGER)
ACCT_INPUT_OCTETS = Attribute("Acct-Input-Octets", 42, INTEGER)
ACCT_OUTPUT_OCTETS = Attribute("Acct-Output-Octets", 43, INTEGER)
ACCT_SESSION_ID = Attribute("Acct-Session-Id", 44, TEXT)
ACCT_AUTHENTIC = Attribute("Acct-Authentic", 45, ENUM, values=AcctAuthentic)
ACCT_SESSION_TIME = Attribute("Acct-Session-Time", 46, INTEGER)
ACCT_INPUT_PACKETS = Attribute("Acct-Input-Packets", 47, INTEGER)
ACCT_OUTPUT_PACKETS = Attribute("Acct-Output-Packets", 48, INTEGER)
ACCT_TERMINATE_CAUSE = Attribute("Acct-Terminate-Cause", 49, ENUM, values=AcctTerminateCause)
ACCT_MULTI_SESSION_ID = Attribute("Acct-Multi-Session-Id", 50, TEXT)
ACCT_LINK_COUNT = Attribute("Acct-Link-Count", 51, INTEGER)
ACCT_INPUT_GIGAWORDS = Attribute("Acct-Input-Gigawords", 52, INTEGER)
ACCT_OUTPUT_GIGAWORDS = Attribute("Acct-Output-Gigawords", 53, INTEGER)
EVENT_TIMESTAMP = Attribute("Event-Timestamp", 55, TIME)
EGRESS_VLANID = Attribute("Egress-VLANID", 56, INTEGER)
INGRESS_FILTERS = Attribute("Ingress-Filters", 57, ENUM)
EGRESS_VLAN_NAME = Attribute("Egress-VLAN-Name", 58, TEXT)
CHAP_CHALLENGE = Attribute("CHAP-Challenge", 60, STRING)
NAS_PORT_TYPE = Attribute("NAS-Port-Type", 61, ENUM, values=NasPortType)
PORT_LIMIT = Attribute("Port-Limit", 62, INTEGER)
TUNNEL_TYPE = Attribute("Tunnel-Type", 64, ENUM, tagged=True, values=TunnelType)
TUNNEL_MEDIUM_TYPE = Attribute("Tunnel-Medium-Type", 65, ENUM, tagged=True, values=TunnelMediumType)
TUNNEL_CLIENT_ENDPOINT = Attribute("Tunnel-Client-Endpoint", 66, TEXT, tagged=True)
TUNNEL_SERVER_ENDPOINT = Attribute("Tunnel-Server-Endpoint", 67, TEXT, tagged=True)
ACCT_TUNNEL_CONNECTION = Attribute("Acct-Tunnel-Connection", 68, TEXT)
TUNNEL_PASSWORD = Attribute("Tunnel-Password", 69, STRING, tagged=True, encrypt=2)
PASSWORD_RETRY = Attribute("Password-Retry", 75, INTEGER)
PROMPT = Attribute("Prompt", 76, ENUM)
CONNECT_INFO = Attribute("Connect-Info", 77, TEXT)
CONFIGURATION_TOKEN = Attribute("Configuration-Token", 78, TEXT)
EAP_MESSAGE = Attribute("EAP-Message", 79, CONCAT)
MESSAGE_AUTHENTICATOR = Attribute("Message-Authenticator", 80, STRING)
TUNNEL_PRIVATE_GROUP_ID = Attribute("Tunnel-Private-Group-Id", 81, TEXT, tagged=True)
TUNNEL_ASSIGNMENT_ID = Attribute("Tunnel-Assignment-Id", 82, TEXT, tagged=True)
TUNNEL_PREFERENCE = Attribute("Tunnel-Preference", 83, INTEGER, tagged=True)
ACCT_INTERIM_INTERVAL = Attribute("Acct-Interim-Interval", 85, INTEGER)
ACCT_TUNNEL_PACKETS_LOST = Attribute("Acct-Tunnel-Packets-Lost", 86, INTEGER)
NAS_PORT_ID = Attribute("NAS-Port-Id", 87, TEXT)
FRAMED_POOL = Attribute("Framed-Pool", 88, TEXT)
CHARGEABLE_USER_IDENTITY = Attribute("Chargeable-User-Identity", 89, STRING)
TUNNEL_CLIENT_AUTH_ID = Attribute("Tunnel-Client-Auth-Id", 90, TEXT, tagged=True)
TUNNEL_SERVER_AUTH_ID = Attribute("Tunnel-Server-Auth-Id", 91, TEXT, tagged=True)
NAS_FILTER_RULE = Attribute("NAS-Filter-Rule", 92, RULES)
NAS_IPV6_ADDRESS = Attribute("NAS-IPv6-Address", 95, IPV6ADDR)
FRAMED_INTERFACE_ID = Attribute("Framed-Interface-Id", 96, IFID)
FRAMED_IPV6_PREFIX = Attribute("Framed-IPv6-Prefix", 97, IPV6PREFIX)
LOGIN_IPV6_HOST = Attribute("Login-IPv6-Host", 98, IPV6ADDR)
FRAMED_IPV6_ROUTE = Attribute("Framed-IPv6-Route", 99, TEXT)
FRAMED_IPV6_POOL = Attribute("Framed-IPv6-Pool", 100, TEXT)
ERROR_CAUSE = Attribute("Error-Cause", 101, ENUM, values=ErrorCause)
EAP_KEY_NAME = Attribute("EAP-Key-Name", 102, STRING)
DELEGATED_IPV6_PREFIX = Attribute("Delegated-IPv6-Prefix", 123, IPV6PREFIX)
DS_LITE_TUNNEL_NAME = Attribute("DS-Lite-Tunnel-Name", 144, TEXT)
FRAMED_IPV6_ADDRESS = Attribute("Framed-IPv6-Address", 168, IPV6ADDR)
DNS_SERVER_IPV6_ADDRESS = Attribute("DNS-Server-IPv6-Address", 169, IPV6ADDR)
ROUTE_IPV6_INFORMATION = Attribute("Route-IPv6-Information", 170, IPV6PREFIX)
DELEGATED_IPV6_PREFIX_POOL = Attribute("Delegated-IPv6-Prefix-Pool", 171, TEXT)
STATEFUL_IPV6_ADDRESS_POOL = Attribute("Stateful-IPv6-Address-Pool", 172, TEXT)
IPV6_6RD_CONFIGURATION = Attribute("IPv6-6rd-Configuration", 173, TLV)
IPV6_6RD_IPV4MASKLEN = Attribute("IPv6-6rd-IPv4MaskLen", "173.1", INTEGER)
IPV6_6RD_PREFIX = Attribute("IPv6-6rd-Prefix", "173.2", IPV6PREFIX)
IPV6_6RD_BR_IPV4_ADDRESS = Attribute("IPv6-6rd-BR-IPv4-Address", "173.3", IPV4ADDR)
ALLOWED_CALLED_STATION_ID = Attribute("Allowed-Called-Station-Id", 174, TEXT)
FRAG_STATUS = Attribute("Frag-Status", "241.1", ENUM)
PROXY_STATE_LENGTH = Attribute("Proxy-State-Length", "241.2", INTEGER)
RESPONSE_LENGTH = Attribute("Response-Length", "241.3", INTEGER)
ORIGINAL_PACKET_CODE = Attribute("Original-Packet-Code", "241.4", INTEGER)
OPERATOR_NAS_IDENTIFIER = Attribute("Operator-NAS-Identifier", "241.8", STRING)
