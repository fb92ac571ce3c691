"""Subscribers that log in: each with a user name and a password."""

from typing import Any

from loadtest.bras.session import bras_subscriber
from loadtest.provision import Payee, Provision


class BrasProvision(Provision):
    def payee(self, number: int) -> Payee:
        return bras_subscriber(number, self._scenario.accounts_shared_by)

    def identified(self, who: Payee) -> dict[str, Any]:
        known = bras_subscriber(who.place)
        return {"identities": [f"username:{known.user}"], "password": known.password.decode()}
