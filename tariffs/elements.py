"""The one list of tariff elements. A row of a tariff has one base (what the price is) and any of the rest, each under
its key; whatever their order in the document, they are applied in the order written here."""

from __future__ import annotations

from typing import Any, Final, get_args

from tariffs.element_barred import Barred, Uncontrolled
from tariffs.element_bundle import BundleElement
from tariffs.element_flat import Beside, Flat
from tariffs.element_free import Free
from tariffs.element_grade import Grade
from tariffs.element_grant import GrantElement
from tariffs.element_maximum import Maximum
from tariffs.element_minimum import Minimum
from tariffs.element_setup import Setup

Element = (
    Barred | Uncontrolled | Free | BundleElement | Flat | Beside | Minimum | Maximum | Setup | Grade | GrantElement
)

ELEMENTS: Final[dict[str, Any]] = {element.key: element for element in get_args(Element)}
"""Key in a document -> class, in the order of application."""

BASES: Final = tuple(key for key, element in ELEMENTS.items() if element.base)
