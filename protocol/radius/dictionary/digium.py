"""Digium: the call detail record of Asterisk (cdr_radius)."""

from protocol.radius.attribute import Attribute
from protocol.radius.types import INTEGER, TEXT

DIGIUM = 22736

ASTERISK_ACC_CODE = Attribute("Asterisk-Acc-Code", 101, TEXT, vendor=DIGIUM)
ASTERISK_SRC = Attribute("Asterisk-Src", 102, TEXT, vendor=DIGIUM)
ASTERISK_DST = Attribute("Asterisk-Dst", 103, TEXT, vendor=DIGIUM)
ASTERISK_START_TIME = Attribute("Asterisk-Start-Time", 110, TEXT, vendor=DIGIUM)
ASTERISK_ANSWER_TIME = Attribute("Asterisk-Answer-Time", 111, TEXT, vendor=DIGIUM)
ASTERISK_END_TIME = Attribute("Asterisk-End-Time", 112, TEXT, vendor=DIGIUM)
ASTERISK_DURATION = Attribute("Asterisk-Duration", 113, INTEGER, vendor=DIGIUM)
ASTERISK_BILL_SEC = Attribute("Asterisk-Bill-Sec", 114, INTEGER, vendor=DIGIUM)
ASTERISK_DISPOSITION = Attribute("Asterisk-Disposition", 115, TEXT, vendor=DIGIUM)
ASTERISK_UNIQUE_ID = Attribute("Asterisk-Unique-ID", 117, TEXT, vendor=DIGIUM)
