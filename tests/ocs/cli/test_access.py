"""`ocs token` and `ocs approval` against a server."""

import json
import re

from ocs.config.access import Access
from tests.ocs.api_harness import ApiHarness
from tests.ocs.cli.conftest import Run


async def test_tokens_and_approvals(ocs: Run, harness: ApiHarness) -> None:
    harness.backoffice.access = Access(four_eyes=("accounts.adjust",))
    await harness.account()
    made = await ocs("token", "create", "anna", "--role", "care", "--role", "billing")
    token = next(line for line in made.stdout.splitlines() if line.startswith("ocs_"))
    id_ = token.split("_")[1]
    assert "anna" in (await ocs("token", "list")).stdout
    assert (await ocs("token", "show", id_)).exit_code == 0
    assert "20.00 each" in (await ocs("token", "permissions")).stdout
    assert "anna" in (await ocs("token", "whoami", "--token", token)).stdout
    rotated = await ocs("token", "rotate", id_, "--json", "--token", token)
    assert json.loads(rotated.stdout)["token"] != token

    adjust = ("account", "adjust", "a1", "5.00", "--reason", "goodwill", "--key", "k1")
    waits = await ocs(*adjust)
    found = re.match(r"approval ([0-9a-f]{16}): another person", waits.stdout)
    assert found, waits.output
    assert waits.exit_code == 0
    assert found[1] in (await ocs("approval", "list", "--state", "pending")).stdout
    assert "another person" in (await ocs("approval", "approve", found[1])).output
    done = await ocs("approval", "approve", found[1], "--token", token)
    assert done.exit_code == 0, done.output
    assert "done" in (await ocs("approval", "show", found[1])).stdout
    assert "5.00" in (await ocs(*adjust)).stdout
    assert (await ocs("approval", "reject", found[1])).exit_code == 1
    assert "revoked" in (await ocs("token", "revoke", id_)).stdout
    assert (await ocs("token", "whoami", "--token", token)).exit_code == 1
