"""Who may touch the clock, chance, the loop and the stores. Everyone else takes it as an argument.

The arrows between our own packages are contracts in pyproject.toml (import-linter), which also follow imports through
other modules. Here is the finer grain: file by file, direct imports only.
"""

import re
import tomllib

import pytest

from tests.shape.source import PACKAGES, ROOT, covered, files, imports, text

# Add a file here only with a reason why it cannot be given what it needs.
WHO_MAY_IMPORT: dict[str, set[str]] = {
    "redis": {
        "balances/redis/libraries.py",
        "balances/redis/client_connections.py",
        "balances/redis/clients.py",
        "balances/redis/topology.py",
        "balances/redis/sentinels.py",
        "balances/redis/sentinel_client.py",
        "balances/ledger/",
        "ocs/processes/",
    },
    "hiredis": {"balances/redis/calls.py", "balances/redis/connection.py"},
    "asyncpg": {
        "balances/ledger/",
        "balances/migrations/",
        "balances/postgres.py",  # connects for both of them
        "ocs/master/",
        "ocs/processes/",
        "ocs/stores/",
        "ocs/doctor/",  # looks at it from outside
    },
    "time": {"ocs/clock.py", "ocs/processes/embedded.py", "loadtest/"},
    "random": {"loadtest/"},
    "secrets": {
        "ocs/processes/",
        "ocs/api/",
        "ocs/enforcement/",
        "ocs/master/",
        "ocs/net/",
        "ocs/events/webhooks/signing.py",  # makes the secret of a webhook
        "loadtest/",
    },
    "asyncio": {
        "balances/redis/",
        "balances/ledger/",
        "balances/postgres.py",  # asks several hosts side by side
        "balances/migrations/migrate.py",  # tries a step again whose lock somebody holds
        "ocs/",
        "loadtest/",
    },
    "uvloop": {"ocs/processes/", "ocs/cli/", "loadtest/"},
    "socket": {
        "balances/redis/connection.py",
        "ocs/processes/",
        "ocs/net/",
        "ocs/cli/",
        "ocs/events/webhooks/client.py",  # looks names up
        "loadtest/",
    },
    "httpcore": {"ocs/events/webhooks/client.py"},
    "ssl": {
        "balances/redis/address.py",
        "ocs/processes/",
        "ocs/net/",
        "ocs/api/",
        "ocs/enforcement/",
        "ocs/events/webhooks/client.py",
        "ocs/cli/remote.py",
        "ocs/doctor/server.py",  # until when certificates are good
        "loadtest/",
    },
    "logging": {"ocs/telemetry/"},
    "structlog": {"ocs/telemetry/"},
    "prometheus_client": {"ocs/telemetry/"},
    "starlette": {"ocs/api/"},
    "uvicorn": {"ocs/processes/", "ocs/api/", "ocs/net/"},
    "ctypes": {"ocs/processes/mortal.py"},
    "subprocess": {"ocs/processes/", "ocs/cli/", "loadtest/"},
    "pickle": set(),
    "threading": set(),  # one loop per process; shared state is a race
    # What builds the objects of a process is imported by nobody but its entry.
    "ocs.processes.worker": {"ocs/processes/entry.py"},
    "ocs.processes.keeper": {"ocs/processes/entry.py"},
    "ocs.processes.api": {"ocs/processes/entry.py"},
}

# Pure whatever the table above says: not even the loop.
PURE = {
    "protocol/",
    "tariffs/",
    "balances/model/",
    "balances/structs/",
    "balances/facts.py",
    "balances/keys.py",
    "ocs/charging/",
}
AWAITS = {"ocs/charging/handle.py"}  # the only await on the hot path
IMPURE = {
    "asyncio",
    "socket",
    "ssl",
    "time",
    "random",
    "secrets",
    "threading",
    "logging",
    "redis",
    "hiredis",
    "asyncpg",
}


CLOCKS = {"ocs/clock.py", "loadtest/"}


@pytest.mark.parametrize("path", files(".py", *PACKAGES))
def test_nobody_else_asks_what_time_it_is(path: str) -> None:
    """`datetime` may be imported anywhere: it converts. Its now() is a clock."""
    asked = re.findall(r"\b(?:datetime|date)\.(?:now|utcnow|today)\(", text(path))
    assert asked == [] or covered(path, CLOCKS)


@pytest.mark.parametrize("path", files(".py", *PACKAGES))
def test_who_may_import(path: str) -> None:
    for line, name in imports(path):
        for module, places in WHO_MAY_IMPORT.items():
            if name == module or name.startswith(f"{module}."):
                assert covered(path, places), f"{path}:{line} imports {name}; allowed: {sorted(places) or 'nobody'}"


@pytest.mark.parametrize(
    "path", [path for path in files(".py", *PACKAGES) if covered(path, PURE) and path not in AWAITS]
)
def test_the_core_is_pure(path: str) -> None:
    for line, name in imports(path):
        assert name.split(".")[0] not in IMPURE, f"{path}:{line} imports {name}"


def test_the_model_is_under_contract_once_it_exists() -> None:
    """import-linter refuses a module that is not there yet, so nobody could list it from the start."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    pure = next(contract for contract in contracts if contract["id"] == "pure")
    listed, there = "balances.model" in pure["source_modules"], (ROOT / "balances/model").exists()
    assert listed == there, 'pyproject.toml, contract "pure": add "balances.model" to source_modules'
