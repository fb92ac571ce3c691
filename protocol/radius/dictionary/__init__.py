"""The explicit list of what we know. The name of a new vendor's file goes here."""

from protocol.radius.attribute_table import AttributeTable, declared_in
from protocol.radius.dictionary import (
    accel_ppp,
    adsl_forum,
    chillispot,
    cisco,
    digium,
    huawei,
    juniper_erx,
    microsoft,
    mikrotik,
    nokia_sr,
    redback,
    standard,
    tgpp,
    wimax,
    wispr,
)

ATTRIBUTES = AttributeTable(
    declared_in(
        standard,
        accel_ppp,
        adsl_forum,
        chillispot,
        cisco,
        digium,
        huawei,
        juniper_erx,
        microsoft,
        mikrotik,
        nokia_sr,
        redback,
        tgpp,
        wimax,
        wispr,
    )
)
