"""What the API takes and gives of tariffs, the files they name, and exchange rates; see schema.py."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ocs.api.schema import Currency, Input
from ocs.api.texts import Time
from ocs.master.documents import FILE_NAME, FILE_NAME_MAX
from ocs.patterns import looks

FileName = Annotated[
    str,
    looks(
        FILE_NAME.pattern,
        'a name such as "prices/world.csv", which ends in .csv, .toml or .json',
        max_length=FILE_NAME_MAX,
        description="As documents name it",
        examples=["world.csv"],
    ),
]
AfterFile = Annotated[
    str,
    looks("[A-Za-z0-9._/-]{0,128}", '"next" of the page before', description="Where the page before ended"),
]
Number = Annotated[int, Meta(ge=1, le=2**31 - 1)]
IfVersion = Annotated[
    int, Meta(ge=0, le=2**31 - 1, description="The version it has now; 0: it does not exist. Needed to change it.")
]
Day = Annotated[
    str,
    looks(r"\d{4}-\d\d-\d\d", "a day such as 2026-03-01", description="From 00:00 UTC on", examples=["2026-03-01"]),
]
Rate = Annotated[
    str,
    looks(
        r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,12})?",
        'a rate such as "0.9231", with at most twelve digits on each side of the point',
        description="More than 0, at most twelve decimals",
        examples=["0.9231"],
    ),
]

# --- tariffs ------------------------------------------------------------------------------------------------------


class TariffView(Struct, frozen=True):
    id: str
    version: int
    """The ETag."""
    media_type: str
    document: str
    published: Time
    valid_from: Time | None
    """null: always."""
    files: dict[str, int]
    """Those it was compiled with, and their versions."""


class TariffInForce(TariffView, frozen=True, kw_only=True):
    """A tariff that was published."""

    in_force: Time | None
    """Since when every worker of this server prices by it; null: not yet when this was said."""
    warnings: list[str]
    """Rows of a new version that never price."""


class TariffRef(Struct, frozen=True):
    id: str
    version: int
    published: Time
    valid_from: Time | None


class TariffPage(Struct, frozen=True):
    items: list[TariffRef]
    next: str | None


class TariffVersion(Struct, frozen=True):
    version: int
    published: Time
    valid_from: Time | None
    files: dict[str, int]


class TariffVersionPage(Struct, frozen=True):
    """The newest first."""

    items: list[TariffVersion]
    next: int | None
    """Give it as `before` for the next page; null at the end."""


# --- files --------------------------------------------------------------------------------------------------------


class TariffFileView(Struct, frozen=True):
    name: str
    version: int
    """The ETag."""
    media_type: str
    content: str
    published: Time


class TariffFileRef(Struct, frozen=True):
    name: str
    version: int
    media_type: str
    octets: int
    published: Time


class TariffFilePage(Struct, frozen=True):
    items: list[TariffFileRef]
    next: str | None


# --- a bundle -----------------------------------------------------------------------------------------------------


class BundleFile(Input, frozen=True):
    name: FileName
    media_type: Literal["text/csv", "application/toml", "application/json"]
    content: str
    if_version: IfVersion | None = None


class BundleTariff(Input, frozen=True):
    media_type: Literal["application/toml", "application/json"]
    document: str
    """It says its id."""
    if_version: IfVersion | None = None


class BundleBody(Struct, frozen=True, forbid_unknown_fields=True):
    """All of it is published, or nothing."""

    files: Annotated[list[BundleFile], Meta(max_length=1_000)] = []
    tariffs: Annotated[list[BundleTariff], Meta(max_length=1_000)] = []


class PublishedFile(Struct, frozen=True):
    name: str
    version: int
    new: bool
    """false: it had this content already."""


class PublishedTariff(Struct, frozen=True):
    id: str
    version: int
    valid_from: Time | None
    new: bool
    warnings: list[str]
    """Rows of a new version that never price."""


class PublishedView(Struct, frozen=True):
    """What was sent, with the versions it has now; then the tariffs that have a new version because they name a file
    that has one."""

    files: list[PublishedFile]
    tariffs: list[PublishedTariff]
    in_force: Time | None
    """Since when every worker of this server prices by them; null: not yet when this was said."""


# --- exchange rates -----------------------------------------------------------------------------------------------


class RatePut(Input, frozen=True):
    """What one unit of a currency is in another."""

    of: Currency
    into: Currency
    rate: Rate


class RatesPut(Input, frozen=True):
    rates: Annotated[list[RatePut], Meta(min_length=1, max_length=1_000)]


class ExchangeRate(Struct, frozen=True):
    of: str
    into: str
    rate: str
    day: str
    """Since when."""


class ExchangeRates(Struct, frozen=True):
    """In force on a day: of each pair the last one that is not of a later day."""

    on: str
    items: list[ExchangeRate]


class ExchangeRatesInForce(ExchangeRates, frozen=True, kw_only=True):
    """Rates that were set."""

    in_force: Time | None
    """Since when every worker of this server exchanges by them; null: not yet when this was said."""
