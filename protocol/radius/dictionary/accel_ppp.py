"""accel-ppp. Speed goes by Filter-Id there."""

from protocol.radius.attribute import Attribute
from protocol.radius.types import TEXT

ACCEL_PPP = 55999

ACCEL_VRF_NAME = Attribute("Accel-VRF-Name", 1, TEXT, vendor=ACCEL_PPP)
