"""ADSL Forum (RFC 4679): which line a subscriber is at, as the access node says it."""

from protocol.radius.attribute import Attribute
from protocol.radius.types import STRING

ADSL_FORUM = 3561

ADSL_AGENT_CIRCUIT_ID = Attribute("ADSL-Agent-Circuit-Id", 1, STRING, vendor=ADSL_FORUM)
ADSL_AGENT_REMOTE_ID = Attribute("ADSL-Agent-Remote-Id", 2, STRING, vendor=ADSL_FORUM)
