"""Vendor profiles: how the equipment of one maker is told a speed, a volume limit, a walled garden, and by which of its
own attributes it knows a session. They are data: `vendors/<name>.toml`, and `[radius.profiles.<name>]` of an operator.

    profiles = vendor_profiles(configured, table)
    profiles["mikrotik"].sends("speed", speed(down_bps=5_000_000, up_bps=1_000_000)) -> octets
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec
from msgspec import Struct

from ocs.charging.radius.attribute_template import AttributeTemplate, Facts
from protocol.radius.attribute import AnyAttribute
from protocol.radius.attribute_table import AttributeTable
from protocol.radius.dictionary import ATTRIBUTES

Occasion: TypeAlias = Literal[
    "speed", "volume_limit", "time_limit", "suspended", "resumed", "service_ended", "change", "disconnect"
]
"""When a profile sends something of its own."""

OwnOccasion: TypeAlias = Literal["login", "subscriber"]
"""When it sends what the subscriber has of its own (ocs/charging/radius/own_attributes.py)."""

GENERIC: Final = "generic"
"""The profile of a client that names none, and the base of each that names no other."""

TIMEOUT_MAX: Final = 2**31 - 1
"""A Session-Timeout above is misread by some (docs/field-notes.md)."""


class ProfileDocument(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A profile as it is written. What one leaves out is that of the profile it is `based_on`."""

    about: str = ""
    based_on: str | None = None
    speed: tuple[str, ...] | None = None
    """Attributes of a speed, in Access-Accept and CoA: up_bps, down_bps, up_kbps, down_kbps, grade."""
    volume_limit: tuple[str, ...] | None = None
    """Attributes of a volume that may be used: octets and its parts, kilobytes, megabytes."""
    time_limit: tuple[str, ...] | None = None
    """Attributes of a time that may be used, beside Session-Timeout: seconds."""
    suspended: tuple[str, ...] | None = None
    """The walled garden: url, filter."""
    resumed: tuple[str, ...] | None = None
    """What takes the walled garden away again in a CoA; speed and limits are sent beside it."""
    service_ended: tuple[str, ...] | None = None
    """What ends one service inside a session, in a CoA: service, its name in `session_services`."""
    login: tuple[str, ...] | None = None
    """Attributes of the subscriber that only an Access-Accept says, such as its address: subscriber.NAME."""
    subscriber: tuple[str, ...] | None = None
    """Those that a CoA can also say, so that it restores them: subscriber.NAME."""
    change: tuple[str, ...] | None = None
    """What this maker wants in each CoA."""
    disconnect: tuple[str, ...] | None = None
    """What this maker wants in each Disconnect."""
    names_session: tuple[str, ...] | None = None
    """By which of the attributes the client itself sent a CoA and a Disconnect name a session."""
    can_change: bool | None = None
    """It takes a CoA; else sessions are disconnected."""
    can_disconnect: bool | None = None
    """It takes a Disconnect; else a session ends with its Session-Timeout."""
    counters_wrap: bool | None = None
    """Its octet counters have 32 bits and no Gigawords (charging.md section 8)."""
    can_extend: bool | None = None
    """It takes another Session-Timeout and volume limit by CoA; else these are what they were at the login."""
    limits_restart: bool | None = None
    """A limit sent by CoA counts from then on; else over the whole session."""


class VendorProfile:
    """A profile, read and tried out. ValueError names the key and what is wrong."""

    def __init__(self, name: str, document: Mapping[str, Any], table: AttributeTable) -> None:
        self.name = name
        self.about: str = document["about"]
        self.can_change: bool = document["can_change"]
        self.can_disconnect: bool = document["can_disconnect"]
        self.counters_wrap: bool = document["counters_wrap"]
        self.can_extend: bool = document["can_extend"]
        self.limits_restart: bool = document["limits_restart"]
        self._lines: dict[str, tuple[AttributeTemplate, ...]] = {}
        for occasion in get_args(Occasion):
            try:
                self._lines[occasion] = tuple(AttributeTemplate(line, table) for line in document[occasion])
            except ValueError as why:
                raise ValueError(f"{name}.{occasion}: {why}") from None
        self.own: dict[OwnOccasion, tuple[AttributeTemplate, ...]] = {}
        for occasion in get_args(OwnOccasion):
            try:
                self.own[occasion] = tuple(AttributeTemplate(line, table, own=True) for line in document[occasion])
            except ValueError as why:
                raise ValueError(f"{name}.{occasion}: {why}") from None
        self.names_session: tuple[AnyAttribute, ...] = tuple(
            _attribute(name, word, table) for word in document["names_session"]
        )
        if (self.can_change or self.can_disconnect) and not self.names_session:
            raise ValueError(f"{name}.names_session: expected at least one attribute")

    def sends(self, occasion: Occasion, facts: Facts) -> bytes:
        """The attributes of an occasion, as octets; those whose facts are not known are left out."""
        return b"".join(line.octets(facts) for line in self._lines[occasion])

    def knows(self, occasion: Occasion) -> bool:
        """Whether this maker has attributes for it."""
        return bool(self._lines[occasion])


def _attribute(profile: str, name: str, table: AttributeTable) -> AnyAttribute:
    found = table.get(name)
    if found is None:
        raise ValueError(f"{profile}.names_session: no attribute has the name {name}")
    return found


def vendor_profiles(
    configured: Mapping[str, Mapping[str, Any]] = {}, *, table: AttributeTable = ATTRIBUTES
) -> dict[str, VendorProfile]:
    """All profiles by name: the shipped ones with what the configuration says otherwise, and its own. ValueError says
    where and what is wrong."""
    written = {name: _read(name, msgspec.toml.decode(text)) for name, text in _shipped()}
    for name, document in configured.items():
        own = _read(name, document)
        base = written.get(name)
        written[name] = own if base is None else _over(base, own)
    return {name: VendorProfile(name, _whole(name, written), table) for name in written}


def _shipped() -> Iterable[tuple[str, str]]:
    for path in files("ocs.charging.radius").joinpath("vendors").iterdir():
        if path.name.endswith(".toml"):
            yield path.name.removesuffix(".toml"), path.read_text()


def _read(name: str, document: Any) -> ProfileDocument:
    try:
        return msgspec.convert(document, ProfileDocument)
    except msgspec.ValidationError as why:
        raise ValueError(f"{name}: {why}") from None


def _over(below: ProfileDocument, above: ProfileDocument) -> ProfileDocument:
    said = {key: value for key, value in msgspec.structs.asdict(above).items() if value is not None and value != ""}
    return msgspec.structs.replace(below, **said)


def _whole(name: str, written: Mapping[str, ProfileDocument]) -> dict[str, Any]:
    """A profile over those it is based on, down to the generic one."""
    chain = [name]
    while chain[-1] != GENERIC:
        base = written[chain[-1]].based_on or GENERIC
        if base not in written:
            raise ValueError(f"{chain[-1]}.based_on: no profile {base}; there are {', '.join(sorted(written))}")
        if base in chain:
            raise ValueError(f"{name}.based_on: {' -> '.join((*chain, base))} goes round in a circle")
        chain.append(base)
    whole = written[GENERIC]
    for step in reversed(chain[:-1]):
        whole = _over(whole, written[step])
    return msgspec.structs.asdict(whole)
