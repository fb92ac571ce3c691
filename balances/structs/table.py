"""Every structure that scripts and Python exchange, in one table: scripts find the numbers of fields, the defaults of
fields and the values of enums here, packing its decoders."""

from __future__ import annotations

from enum import IntEnum, IntFlag, StrEnum
from typing import Final

import msgspec

from balances.structs import account, blob, charge, posting, record, session, thresholds
from tariffs import ladder, units

MODULES: Final = (blob, thresholds, account, session, charge, posting, record, ladder, units)

NAMED: Final = (
    *(
        "MAIN",
        "BUCKETS_MAX",
        "ANSWERS_KEPT",
        "ASIDE_WAITING_MAX",
        "FORMER_KEPT",
        "SAME_MS",
        "THRESHOLDS_MAX",
        "COUNTER_KEPT_MS",
        "REFUSING",
        "FEES_MAX",
        "FEE_KEPT_MS",
        "FEE_STALE_MS",
    ),
    *(
        "CUTS_MAX",
        "SHARINGS_MAX",
        "SESSION_LINES_MAX",
        "INTERVALS_MAX",
        "FACTS_MAX",
        "LADDERS_KEPT",
        "WHOLE",
        "SLACK_S",
        "SAME_START_MS",
        "BYGONES_KEPT",
    ),
)
"""Numbers that scripts name as they are."""


def types() -> dict[str, type[msgspec.Struct | IntEnum | IntFlag | StrEnum]]:
    """By name, all structs and enums of MODULES."""
    return {
        name: thing
        for module in MODULES
        for name, thing in vars(module).items()
        if isinstance(thing, type) and issubclass(thing, msgspec.Struct | IntEnum | IntFlag | StrEnum)
    }


def _lua(value: int | str) -> str:
    return f"'{value}'" if isinstance(value, str) else str(int(value))


def numbers() -> dict[str, str]:
    """What a name in a script stands for: `LINE.total` the index of a field, from 1, `RESULT.OK` a value, `MAIN`."""
    found = {name: str(getattr(module, name)) for module in MODULES for name in NAMED if hasattr(module, name)}
    for name, thing in types().items():
        if issubclass(thing, msgspec.Struct):
            fields = thing.__struct_fields__
            found |= {f"{name.upper()}.{field}": str(at) for at, field in enumerate(fields, 1)}
        else:
            found |= {f"{name.upper()}.{member.name}": _lua(member.value) for member in thing.__members__.values()}
    return found
