"""The balance operations on dicts: the readable specification, and the oracle of the Lua functions.

Each operation is a file of the name of its script, and each part of a script a file of the name of the part, with
functions of the same names (tests/shape/test_twins.py); tests/balances/test_parity.py drives random interleavings
through both and compares answers and state after every step.
"""

from __future__ import annotations

from balances.model import aside, charge, close, expire, fee, post, settings, transfer
from balances.model import open as open_account
from balances.model.kept import ModelStore


class Model(ModelStore):
    """The live store on dicts. Methods take and return what the scripts do."""

    charge = charge.charge
    post = post.post
    transfer = transfer.transfer
    close = close.close
    fee = fee.fee
    settings = settings.settings
    expire = expire.expire
    open = open_account.open
    aside = aside.aside
