"""The demo: subscribers, accounts and tariffs to try everything with, created through the HTTP API.

It may be loaded at every start: what exists stays as it is, and money is not given twice, because
every top-up has an Idempotency-Key of its own that never changes.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final, NamedTuple

from ocs.cli.remote import Remote, RequestRefused
from ocs.config.tree import Config

REALM: Final = "example.net"
PASSWORD: Final = "demo"
TARIFFS: Final = ("demo",)


class Person(NamedTuple):
    msisdn: str
    account: str
    about: str


class DemoPrepaid(NamedTuple):
    id: str
    settings: dict[str, str]
    money: str = ""


PREPAID: Final = (
    DemoPrepaid("demo-1", {}, "20.00"),
    DemoPrepaid("demo-2", {}),
    DemoPrepaid("demo-3", {"state": "suspended"}, "10.00"),
    DemoPrepaid("demo-family", {}, "30.00"),
    DemoPrepaid("demo-6", {"credit_limit": "50.00"}),
)

PEOPLE: Final = (
    Person("491700000001", "demo-1", "20.00, active"),
    Person("491700000002", "demo-2", "0.00"),
    Person("491700000003", "demo-3", "suspended"),
    Person("491700000004", "demo-family", "shares 30.00 with ...05"),
    Person("491700000005", "demo-family", "shares 30.00 with ...04"),
    Person("491700000006", "demo-6", "postpaid, credit limit 50.00"),
)


def identities(msisdn: str) -> list[str]:
    return [
        f"msisdn:{msisdn}",
        f"imsi:00101{msisdn[-10:]}",
        f"sip:+{msisdn}@{REALM}",
        f"username:{msisdn}",
    ]


def tariff(name: str) -> bytes:
    return files("tariffs").joinpath("examples", f"{name}.toml").read_bytes()


def load(config: Config, address: str) -> None:
    """Load the demo into the server at this address."""
    token = config.access.admin_token.reveal() or (config.data / "admin.token").read_text(encoding="ascii").strip()
    load_into(Remote(f"{config.http.scheme}://{address}", token, trusted=config.http.tls_cert))


def load_into(server: Remote) -> None:
    for name in TARIFFS:
        _once(server, "tariffs", name, body=tariff(name), media_type="application/toml")
    for prepaid in PREPAID:
        settings = {"currency": "EUR", "time_zone": "Europe/Berlin", **prepaid.settings}
        _once(server, "accounts", prepaid.id, body=settings)
        # The ledger is older than the memory of a key: what has entries was given its money.
        if prepaid.money and server.get("accounts", prepaid.id)["seq"] == 0:
            body = {"amount": prepaid.money, "reference": "demo"}
            server.post("accounts", prepaid.id, "topups", body=body, key=f"demo-{prepaid.id}")
    for person in PEOPLE:
        about = {
            "account": person.account,
            "identities": identities(person.msisdn),
            "tariffs": [{"tariff": name} for name in TARIFFS],
            "password": PASSWORD,
        }
        _once(server, "subscribers", f"demo-{person.msisdn}", body=about)


def _once(server: Remote, *path: str, body: Any, media_type: str = "application/json") -> None:
    """Create it unless it exists: a user may have changed it since."""
    try:
        server.ask("PUT", *path, body=body, headers={"If-None-Match": "*"}, media_type=media_type)
    except RequestRefused as why:
        if not why.kind.endswith(":version-conflict"):
            raise


def lines(config: Config, address: str) -> list[str]:
    """The text that is shown when the demo is loaded."""
    token = config.data / "admin.token"
    return [
        f"demo subscribers as they begin, realm {REALM}, EUR",
        f"(also imsi 00101 + last 10 digits, sip:+<msisdn>@{REALM}):",
        *(f"  msisdn {person.msisdn}   account {person.account:<12} {person.about}" for person in PEOPLE),
        "",
        "try:",
        f'  curl -H "Authorization: Bearer $(cat {token})" http://{address}/v1/accounts/demo-1',
    ]
