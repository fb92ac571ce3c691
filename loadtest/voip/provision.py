"""Callers: each with a user name and a PIN."""

from typing import Any

from loadtest.provision import Payee, Provision
from loadtest.voip.call import caller


class VoipProvision(Provision):
    def payee(self, number: int) -> Payee:
        return caller(number, self._scenario.accounts_shared_by)

    def identified(self, who: Payee) -> dict[str, Any]:
        known = caller(who.place)
        return {"identities": [f"username:{known.user}"], "password": known.pin.decode()}
