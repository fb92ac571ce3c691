"""The one list of tariff elements. A row of a tariff has one base (what the price is) and any of the rest, each under
its key; whatever their order in the document, they are applied in the order written here."""

from __future__ import annotations

from typing import Final, get_args

from tariffs.elements.barred import Barred, Uncontrolled
from tariffs.elements.bundle import BundleElement
from tariffs.elements.element import TariffElement
from tariffs.elements.flat import Beside, Flat
from tariffs.elements.free import Free
from tariffs.elements.grade import Grade
from tariffs.elements.grant import GrantElement
from tariffs.elements.maximum import Maximum
from tariffs.elements.minimum import Minimum
from tariffs.elements.off import Off
from tariffs.elements.round import Round
from tariffs.elements.setup import Setup
from tariffs.elements.tags import Tags

Element = (
    Barred
    | Uncontrolled
    | Free
    | BundleElement
    | Flat
    | Beside
    | Off
    | Minimum
    | Maximum
    | Setup
    | Round
    | Grade
    | GrantElement
    | Tags
)

ELEMENTS: Final[dict[str, type[TariffElement]]] = {element.key: element for element in get_args(Element)}
"""Key in a document -> class, in the order of application."""

BASES: Final = tuple(key for key, element in ELEMENTS.items() if element.base)
