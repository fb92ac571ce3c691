"""What rating may look at, as it is told in JSON: normalised as every protocol's facts are."""

from __future__ import annotations

from typing import Any, Final

from ocs.charging.identity import party
from ocs.charging.networks import in_text
from tariffs.inputs import TOLD, Inputs
from tariffs.network_facts import in_one_text, taken_apart

LOWER: Final = ("apn", "charging_characteristics", "user_time_zone", "equipment")


def inputs_of(service: str, told: Any, service_context: str = "", tags: str = "") -> Inputs:
    """
    told: has a field for each fact of `tariffs.inputs.TOLD` but tags, "" or None where it says nothing
    tags: as JSON

    ValueError where `visited` names no network: a price for abroad would not be found by it.
    """
    visited = in_text(told.visited)
    if told.visited and not visited:
        raise ValueError(f"expected MCC and MNC, such as 26201 or 262-01, found {told.visited!r}")
    given = {name: getattr(told, name) for name in TOLD if name != "tags"}
    given |= {"calling": party(told.calling), "called": party(told.called)}
    given |= {name: given[name].lower() for name in LOWER}
    given["network"] = in_one_text(taken_apart(told.network))
    given["visited"] = visited
    return Inputs(service, service_context=service_context, tags=tags, **given)
