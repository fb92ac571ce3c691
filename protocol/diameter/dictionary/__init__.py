"""The explicit list of what we know. The name of a new vendor's file goes here."""

from protocol.diameter.dictionary import (
    accounting,
    base,
    credit_control,
    credit_values,
    nasreq,
    overload,
    qos,
    tgpp_charging,
    tgpp_known,
)
from protocol.diameter.message import Dictionary

DICTIONARY = Dictionary(
    base,
    nasreq,
    qos,
    overload,
    credit_values,
    tgpp_charging,
    tgpp_known,
    credit_control,
    accounting,
    error_answer=base.ErrorAnswer,
)
