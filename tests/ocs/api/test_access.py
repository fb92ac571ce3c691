"""Who may do what: tokens, roles, limits of amounts, a second person (docs/access.md)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest

from ocs.access.permissions import ALONE, OPEN, PERMISSIONS, can_wait
from ocs.access.roles import SHIPPED, AmountLimit, CallerRole
from ocs.access.token_book import FRESH_MS
from ocs.api.server import OPERATIONS
from ocs.backoffice import accounts, allowances
from ocs.config.access import Access
from ocs.tmf654.words import BASE
from tariffs.units import Kind
from tests.ocs.api_harness import ApiHarness


def test_every_operation_names_its_permission_and_every_permission_allows_something() -> None:
    needed = {operation.permission for operation in OPERATIONS if operation.permission in PERMISSIONS}
    by_a_field = {
        "accounts.adjust-held",
        "accounts.give-credit",
        "accounts.make-debt",
        "passwords.export",
    }  # of a body or a query
    assert needed | by_a_field == PERMISSIONS.keys()
    unguarded = {operation.path for operation in OPERATIONS if operation.permission not in PERMISSIONS}
    assert {operation.path for operation in OPERATIONS if operation.permission == OPEN} == {"/healthz", "/readyz"}
    own = {"/v1/me", "/v1/roles", "/v1/tokens/{id}/rotate", "/v1/approvals/{id}", "/v1/approvals/{id}/reject"}
    assert unguarded == {"/healthz", "/readyz"} | own


def test_what_reads_is_asked_with_get_and_what_cannot_wait_is_told_apart() -> None:
    for operation in OPERATIONS:
        if operation.permission.endswith(".read") and operation.method != "GET":
            # a quote has a body; the code of a voucher must stand in no address
            reads = ("/v1/quote", "/v1/accounts/{id}/topups/quote", "/v1/vouchers/find")
            assert operation.path in reads, "a permission to read that changes something"
        if operation.method == "GET" and operation.permission in PERMISSIONS:
            assert operation.permission.endswith((".read", ".export", ".watch")), operation.path
        if operation.streamed:
            assert not can_wait(operation.permission)
    assert PERMISSIONS.keys() >= ALONE


class TokenHolder:
    """A caller with a token."""

    def __init__(self, harness: ApiHarness, token: dict[str, Any]) -> None:
        self._harness, self.token = harness, token

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        headers["authorization"] = f"Bearer {self.token['token']}"
        return await self._harness.call(method, path, body, **headers)

    async def adjust(self, key: str, amount: str, **more: Any) -> httpx.Response:
        body = {"amount": amount, "reason": "goodwill"} | more
        return await self.call("POST", "/v1/accounts/a1/adjustments", body, idempotency_key=key)


async def person(harness: ApiHarness, caller: str, *roles: str, **more: Any) -> TokenHolder:
    made = await harness.call("POST", "/v1/tokens", {"caller": caller, "roles": roles} | more)
    assert made.status_code == 201, made.text
    return TokenHolder(harness, made.json())


def configured(harness: ApiHarness, **more: Any) -> None:
    access = Access(**more)
    harness.backoffice.access = access
    harness.backoffice.roles.clear()
    harness.backoffice.roles.update(access.known_roles)


# --- tokens


async def test_a_token_is_known_by_its_hash_alone(harness: ApiHarness) -> None:
    anna = await person(harness, "anna", "care", description="desk 4")
    secret = anna.token["token"]
    for table in ("tokens", "event_outbox"):
        stored = await harness.pool.fetch(f"SELECT {table}::text FROM {table}")
        assert not any(secret.rpartition("_")[2] in row[0] for row in stored)
    me = (await anna.call("GET", "/v1/me")).json()
    assert (me["caller"], me["roles"], me["credential"]) == ("anna", ["care"], anna.token["id"])
    (listed,) = (await harness.call("GET", "/v1/tokens")).json()["items"]
    assert listed["token"] is None
    assert listed["last_used"] is not None
    for wrong in (secret[:-1] + ("A" if secret[-1] != "A" else "B"), secret[:-1], "ocs_000000000000_" + "A" * 43):
        refused = await harness.call("GET", "/v1/me", authorization=f"Bearer {wrong}")
        assert (refused.status_code, refused.json()["type"]) == (401, "urn:ocs:problem:unauthorized")


async def test_a_token_is_rotated_revoked_and_ends(harness: ApiHarness) -> None:
    anna = await person(harness, "anna", "care")
    old, path = dict(anna.token), f"/v1/tokens/{anna.token['id']}"
    anna.token = (await anna.call("POST", f"{path}/rotate", {"overlap_s": 60})).json()  # one's own, without permission
    assert [(await TokenHolder(harness, one).call("GET", "/v1/me")).status_code for one in (old, anna.token)] == [
        200,
        200,
    ]
    harness.ahead_ms += 61_000
    assert [(await TokenHolder(harness, one).call("GET", "/v1/me")).status_code for one in (old, anna.token)] == [
        401,
        200,
    ]
    other = await person(harness, "otto", "care")
    assert (await anna.call("POST", f"/v1/tokens/{other.token['id']}/rotate", {})).status_code == 403
    assert (await harness.call("POST", f"{path}/revoke")).json()["state"] == "revoked"
    assert (await anna.call("GET", "/v1/me")).status_code == 401
    assert (await harness.call("POST", f"{path}/rotate", {})).status_code == 409

    until = (await harness.call("GET", "/v1/tokens")).json()["items"][0]["created"]
    assert (
        await harness.call("POST", "/v1/tokens", {"caller": "x", "roles": ["care"], "expires": until})
    ).status_code == 422
    short = await person(harness, "x", "care", expires="2100-01-01T00:00:00Z")
    harness.ahead_ms += 80 * 366 * 86_400_000
    assert (await short.call("GET", "/v1/me")).status_code == 401


async def test_nobody_gives_more_than_he_has(harness: ApiHarness) -> None:
    configured(harness, roles={"desk": CallerRole(("tokens.*", "accounts.read", "accounts.top-up"))})
    chief = await person(harness, "chief", "desk", "cashier")
    asked = {"caller": "new", "roles": ["cashier"]}
    assert (await chief.call("POST", "/v1/tokens", asked)).status_code == 201
    assert (await chief.call("POST", "/v1/tokens", {"caller": "new", "roles": ["admin"]})).status_code == 403
    narrow = {"caller": "new", "roles": ["admin"], "scopes": ["accounts.top-up"]}  # and without the limits of a cashier
    assert (await chief.call("POST", "/v1/tokens", narrow)).status_code == 403
    assert (await chief.call("POST", "/v1/tokens", {"caller": "new", "roles": ["boss"]})).status_code == 422
    scoped = await person(harness, "robot", "admin", scopes=["*.read"])
    assert (await scoped.call("GET", "/v1/tokens")).status_code == 200
    assert (await scoped.call("PUT", "/v1/accounts/a9", {"currency": "EUR"})).status_code == 403


async def test_a_known_token_opens_while_postgres_is_away(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = await person(harness, "anna", "care")
    unknown = await person(harness, "otto", "care")
    await harness.account()
    assert (await anna.call("GET", "/v1/accounts/a1")).status_code == 200

    async def hangs(*_: object, **__: object) -> None:
        await asyncio.sleep(30)

    monkeypatch.setattr(harness.backoffice.pool, "_within_s", 0.05)
    monkeypatch.setattr(harness.backoffice.pool, "_on_connection", hangs)
    harness.ahead_ms += FRESH_MS + 1
    assert (await anna.call("GET", "/v1/accounts/a1")).status_code == 200  # from Redis
    refused = await unknown.call("GET", "/v1/accounts/a1")
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:ocs:problem:store-unavailable")
    await harness.backoffice.pool.close()


# --- roles and limits


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("cashier", "accounts.top-up", "accounts.write"),
        ("care", "subscribers.write", "accounts.correct"),
        ("billing", "tariffs.write", "tokens.read"),
        ("noc", "sessions.end", "accounts.top-up"),
        ("admin", "tokens.write", None),
    ],
)
async def test_a_role_is_a_set_of_permissions(harness: ApiHarness, role: str, may: str, may_not: str | None) -> None:
    found = (await (await person(harness, "anna", role)).call("GET", "/v1/me")).json()["permissions"]
    assert may in found
    assert may_not not in found
    assert found == sorted(found)


async def test_a_cashier_adjusts_up_to_20(harness: ApiHarness) -> None:
    await harness.account()
    await harness.account("usd", currency="USD")
    cashier = await person(harness, "anna", "cashier")
    assert (await cashier.adjust("k1", "20.00")).status_code == 201
    refused = await cashier.adjust("k2", "20.01")
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:ocs:problem:forbidden")
    assert (await cashier.adjust("k2", "-20.01")).status_code == 403
    assert "at most 20.00 EUR at once" in refused.json()["detail"]
    assert (await cashier.adjust("k3", "-1.00", force=True)).status_code == 403
    assert (await cashier.call("PUT", "/v1/accounts/a9", {"currency": "EUR"})).status_code == 403
    top = {"amount": "500.01"}
    assert (await cashier.call("POST", "/v1/accounts/a1/topups", top, idempotency_key="t1")).status_code == 403
    assert (await harness.top_up("500.01")).status_code == 201  # the administrator has no limit
    units = {"amount": "1", "kind": "octets"}  # a limit names money only
    assert (await cashier.call("POST", "/v1/accounts/a1/topups", units, idempotency_key="t2")).status_code == 403


async def test_a_day_has_a_limit_that_repeats_refusals_and_two_at_once_do_not_move(harness: ApiHarness) -> None:
    limits = (AmountLimit("accounts.adjust", "EUR", each="20.00", day="50.00"),)
    configured(harness, roles={"cashier": CallerRole(("accounts.*",), limits=limits)})
    await harness.account()
    await harness.account("usd", currency="USD")
    anna, otto = await person(harness, "anna", "cashier"), await person(harness, "otto", "cashier")
    assert (await anna.adjust("k1", "20.00")).status_code == 201
    assert (await anna.adjust("k1", "20.00")).status_code == 201  # the same again
    assert (await anna.adjust("k2", "-20.00")).status_code == 201  # taken counts like given
    assert (await anna.adjust("k3", "-10.00")).status_code == 409  # refused: it counts for nothing
    both = await asyncio.gather(*(anna.adjust(f"k{key}", "9.00") for key in range(4, 9)))
    assert sorted(one.status_code for one in both) == [201, 403, 403, 403, 403]
    assert (await otto.adjust("k1", "20.00")).status_code == 201  # a day of his own
    dollars = {"amount": "1.00", "reason": "x"}
    refused = await anna.call("POST", "/v1/accounts/usd/adjustments", dollars, idempotency_key="d")
    assert refused.status_code == 403  # limits name EUR only
    harness.ahead_ms += 86_400_000
    assert (await anna.adjust("k9", "20.00")).status_code == 201


async def test_of_two_contents_under_one_key_the_day_counts_what_was_moved(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small amount that is counted first hides no large one that is done."""
    limits = (AmountLimit("accounts.adjust", "EUR", each="20.00", day="20.00"),)
    configured(harness, roles={"cashier": CallerRole(("accounts.*",), limits=limits)})
    await harness.account()
    anna, allow = await person(harness, "anna", "cashier"), allowances.allow
    counted, large = asyncio.Event(), asyncio.Event()

    async def and_wait(backoffice: Any, warrant: Any, row: Any, amounts: Any, key: str) -> Any:
        small = amounts[Kind.MONEY] == 1_000_000
        if key.endswith(" k") and not small:
            await counted.wait()
        found = await allow(backoffice, warrant, row, amounts, key)
        if key.endswith(" k") and small:
            counted.set()
            await large.wait()
        return found

    async def second() -> httpx.Response:
        answer = await anna.adjust("k", "20.00")
        large.set()
        return answer

    monkeypatch.setattr("ocs.backoffice.postings.allow", and_wait)
    both = await asyncio.gather(anna.adjust("k", "1.00"), second())
    assert [one.status_code for one in both] == [409, 201]
    assert (await anna.adjust("k2", "0.01")).status_code == 403


async def test_of_two_repeats_the_one_that_is_refused_takes_back_its_own(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = (AmountLimit("accounts.adjust", "EUR", each="20.00", day="20.00"),)
    configured(harness, roles={"cashier": CallerRole(("accounts.*",), limits=limits)})
    await harness.account()
    anna, take_back, done = await person(harness, "anna", "cashier"), allowances.take_back, asyncio.Event()

    async def and_then(*given: Any) -> None:
        await harness.top_up("20.00")
        assert (await anna.adjust("k", "-20.00")).status_code == 201
        done.set()
        await take_back(*given)

    monkeypatch.setattr("ocs.backoffice.postings.take_back", and_then)
    assert (await anna.adjust("k", "-20.00")).status_code == 409  # nothing there yet
    assert done.is_set()
    assert (await anna.adjust("k2", "0.01")).status_code == 403
    assert (await anna.adjust("k", "-20.00")).status_code == 201  # the same again


async def test_a_limit_is_of_what_is_really_moved(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Money that comes in between the look at a balance and the call goes out beyond no limit (charging.md 17)."""
    limits = tuple(AmountLimit(f"accounts.{each}", "EUR", each="20.00", day="30.00") for each in ("pay-out", "close"))
    configured(harness, roles={"desk": CallerRole(("accounts.*",), limits=limits)})
    await harness.account()
    await harness.top_up("15.00")
    desk, read, more = await person(harness, "anna", "desk"), accounts.read, ["4.00", "1.00"]

    async def and_then(*given: Any) -> Any:
        found = await read(*given)
        if more:
            await harness.top_up(more.pop(0))
        return found

    async def ask(what: str, key: str, **body: str) -> httpx.Response:
        return await desk.call("POST", f"/v1/accounts/a1/{what}", {"reason": "x"} | body, idempotency_key=key)

    monkeypatch.setattr(accounts, "read", and_then)
    out = await ask("payouts", "p1")  # 15.00, then 19.00 as it is looked at, 20.00 as it is done
    assert (out.status_code, out.json()["balance"]) == (201, "0.00")
    await harness.top_up("10.01")
    assert (await ask("payouts", "p2")).status_code == 403  # of the day 10.00 are left
    assert (await ask("closing", "c1", remainder="payout")).status_code == 201  # a day of its own
    await harness.call("PUT", "/v1/accounts/a1", {"currency": "EUR", "state": "active"}, if_match="*")
    await harness.top_up("20.00")
    assert (await ask("closing", "c2", remainder="write-off")).status_code == 403
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "20.00"


async def test_what_lapses_while_an_account_is_closed_refuses_nothing(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that ends between the order and the look at it is closed as it was at the order."""
    limits = (AmountLimit("accounts.close", each="20.00"), AmountLimit("accounts.close", "octets", each="20"))
    configured(harness, roles={"desk": CallerRole(("accounts.*",), limits=limits)})
    desk, read = await person(harness, "anna", "desk"), accounts.read
    await harness.account()
    until = datetime.now(UTC) + timedelta(minutes=1)
    await harness.top_up("5", kind="octets", valid_until=until.isoformat())

    async def and_wait(*given: Any) -> Any:
        harness.ahead_ms += 120_000
        return await read(*given)

    monkeypatch.setattr(accounts, "read", and_wait)
    body = {"reason": "x", "remainder": "write-off"}
    done = await desk.call("POST", "/v1/accounts/a1/closing", body, idempotency_key="c")
    assert done.status_code == 201, done.text


async def test_a_merge_is_within_the_limits_of_who_orders_it(harness: ApiHarness) -> None:
    limits = tuple(AmountLimit("accounts.merge", unit, each="20", day="30") for unit in ("EUR", "octets"))
    configured(harness, roles={"desk": CallerRole(("accounts.*",), limits=limits)})
    desk = await person(harness, "anna", "desk")
    await harness.account("heir")
    for name, money, octets in (("rich", "20.01", 0), ("big", "1", 21), ("one", "20", 20), ("two", "11", 0)):
        await harness.account(name)
        await harness.top_up(money, name)
        if octets:
            await harness.top_up(str(octets), name, kind="octets")

    async def merged(name: str) -> httpx.Response:
        body = {"into": "heir", "reason": "married"}
        return await desk.call("POST", f"/v1/accounts/{name}/merge", body, idempotency_key="m")

    assert [(await merged(name)).status_code for name in ("rich", "big", "one", "one", "two")] == [
        *(403, 403, 202, 202, 403)
    ]
    moved = await harness.pool.fetch("SELECT account FROM moved_by_day")
    assert {row["account"] for row in moved} == {"one"}


async def test_a_merge_waits_for_a_second_person(harness: ApiHarness) -> None:
    configured(harness, four_eyes=("accounts.merge",))
    for name in ("old", "new"):
        await harness.account(name)
    await harness.top_up("10.00", "old")
    anna, otto = await person(harness, "anna", "billing"), await person(harness, "otto", "billing")
    body = {"into": "new", "reason": "married"}

    async def merged() -> httpx.Response:
        return await anna.call("POST", "/v1/accounts/old/merge", body, idempotency_key="m")

    waits = await merged()
    assert (waits.status_code, waits.json()["state"]) == (202, "pending")
    assert await harness.pool.fetch("SELECT FROM transfers") == []
    path = f"/v1/approvals/{waits.json()['approval']}/approve"
    assert (await anna.call("POST", path, {})).status_code == 403
    done = (await otto.call("POST", path, {})).json()
    assert (done["state"], done["status"], done["answer"]["state"]) == ("done", 202, "ordered")
    again = await merged()
    assert (again.status_code, again.json()["id"], again.json()["actor"]) == (202, done["answer"]["id"], "anna")
    assert len(await harness.pool.fetch("SELECT FROM transfers")) == 1


async def test_of_two_roles_the_wider_limit_holds() -> None:
    from ocs.access.roles import authority_of

    both = authority_of("anna", ("cashier", "care"), SHIPPED)
    assert sorted(str(one.each) for one in both.limits("accounts.adjust", "EUR")) == ["20.00", "50.00"]
    assert authority_of("anna", ("cashier", "admin"), SHIPPED).limits("accounts.adjust", "EUR") == []


async def test_credit_is_given_by_who_may_give_it(harness: ApiHarness) -> None:
    """It is as good as money: whoever changes accounts all day does not raise it, and keeps or lowers it."""
    await harness.account(credit_limit="5.00")
    care = await person(harness, "anna", "care")

    async def put(account: str, **body: Any) -> httpx.Response:
        return await care.call("PUT", f"/v1/accounts/{account}", {"currency": "EUR"} | body, if_match="*")

    refused = await put("a1", credit_limit="5.01")
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:ocs:problem:forbidden")
    assert "accounts.give-credit" in refused.json()["detail"]
    for limit in ("5.00", "2.00"):
        assert (await put("a1", credit_limit=limit, customer=limit)).json()["credit_limit"] == limit
    assert (await put("a1", credit_limit="5.00")).status_code == 403
    fresh = await care.call("PUT", "/v1/accounts/a2", {"currency": "EUR", "credit_limit": "0.01"})
    assert fresh.status_code == 403
    assert (await harness.call("GET", "/v1/accounts/a2")).status_code == 404
    billing = await person(harness, "otto", "billing")
    body = {"currency": "EUR", "credit_limit": "50.00"}
    assert (await billing.call("PUT", "/v1/accounts/a1", body, if_match="*")).status_code == 200


# --- a second person


async def test_four_eyes(harness: ApiHarness) -> None:
    configured(harness, four_eyes=("accounts.adjust",))
    await harness.account()
    anna, otto = await person(harness, "anna", "care"), await person(harness, "otto", "billing")
    waits = await anna.adjust("k1", "10.00")
    one = waits.json()
    assert (waits.status_code, one["state"], one["caller"]) == (202, "pending", "anna")
    assert one["body"] == {"amount": "10.00", "reason": "goodwill"}
    assert waits.headers["location"] == f"/v1/approvals/{one['approval']}"
    assert (await anna.adjust("k1", "10.00")).json() == one  # the same again waits once
    assert (await anna.adjust("k1", "11.00")).json()["type"] == "urn:ocs:problem:key-reused"
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "0.00"

    path = f"/v1/approvals/{one['approval']}"
    anna_again = await person(harness, "anna", "billing")  # another token, and the same person
    assert (await anna_again.call("POST", f"{path}/approve", {})).status_code == 403
    assert (await anna.call("GET", path)).json() == one
    done = (await otto.call("POST", f"{path}/approve", {"reason": "seen"})).json()
    assert (done["state"], done["status"], done["decided_by"]) == ("done", 201, "otto")
    assert done["answer"]["balance"] == "10.00"
    assert (await otto.call("POST", f"{path}/approve", {})).status_code == 409
    again = await anna.adjust("k1", "10.00")
    assert (again.status_code, again.json()) == (201, done["answer"])
    await harness.sync()
    (entry,) = (await harness.call("GET", "/v1/accounts/a1/ledger")).json()["items"]
    assert (entry["actor"], entry["amount"]) == ("anna", "10.00")  # once, as who asked for it
    told = [row["type"] for row in await harness.pool.fetch("SELECT type FROM event_outbox ORDER BY place")]
    assert told == ["approval.requested", "approval.decided"]


async def test_what_is_approved_is_done_within_the_limits_of_who_asked(harness: ApiHarness) -> None:
    configured(harness, four_eyes=("accounts.adjust",))
    await harness.account()
    anna = await person(harness, "anna", "cashier")
    one = (await anna.adjust("k1", "20.01")).json()
    done = (await harness.call("POST", f"/v1/approvals/{one['approval']}/approve", {})).json()
    assert (done["state"], done["status"]) == ("failed", 403)
    assert (await anna.adjust("k1", "20.01")).status_code == 403


async def test_it_is_done_once_whatever_stops(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends between the posting and the note that it was done: approved again, it is not posted again."""
    configured(harness, four_eyes=("accounts.adjust", "tariffs.write"))
    await harness.account()
    anna = await person(harness, "anna", "billing")
    path = f"/v1/approvals/{(await anna.adjust('k1', '5.00')).json()['approval']}/approve"
    with monkeypatch.context() as patch:

        async def killed(*_: object) -> None:
            raise RuntimeError("killed")

        patch.setattr("ocs.access.approvals.finish", killed)
        assert (await harness.call("POST", path, {})).status_code == 500
    assert (await harness.call("POST", path, {})).status_code == 409  # it may be being done
    harness.ahead_ms += 60_001
    done = (await harness.call("POST", path, {})).json()
    assert (done["state"], done["answer"]["balance"]) == ("done", "5.00")
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "5.00"


async def test_what_came_without_a_key_is_done_once_too(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """TMF654 has no key: the one that is made stays with what waits."""
    configured(harness, four_eyes=("accounts.adjust",))
    await harness.account()
    anna = await person(harness, "anna", "billing")
    amount = {"amount": 5, "units": "EUR"}
    body = {"amount": amount, "usageType": "monetary", "bucket": {"id": "a1:0"}, "reason": "goodwill"}
    waits = await anna.call("POST", f"{BASE}/adjustBalance", body)
    assert waits.status_code == 202, waits.text
    path = f"/v1/approvals/{waits.json()['approval']}/approve"
    with monkeypatch.context() as patch:

        async def killed(*_: object) -> None:
            raise RuntimeError("killed")

        patch.setattr("ocs.access.approvals.finish", killed)
        assert (await harness.call("POST", path, {})).status_code == 500
    harness.ahead_ms += 60_001
    done = (await harness.call("POST", path, {})).json()
    assert (done["state"], done["answer"]["id"]) == ("done", "a1:1")
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "5.00"


async def test_it_is_not_tried_again_when_its_key_may_be_forgotten(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys are kept for 30 days; done again after that it would be done twice."""
    configured(harness, four_eyes=("accounts.adjust",))
    await harness.account()
    anna = await person(harness, "anna", "billing")
    path = f"/v1/approvals/{(await anna.adjust('k1', '5.00')).json()['approval']}/"
    with monkeypatch.context() as patch:

        async def killed(*_: object) -> None:
            raise RuntimeError("killed")

        patch.setattr("ocs.access.approvals.finish", killed)
        assert (await harness.call("POST", path + "approve", {})).status_code == 500
    harness.ahead_ms += 29 * 86_400_000 + 1
    assert (await harness.call("POST", path + "approve", {})).status_code == 409
    assert (await harness.call("POST", path + "reject", {})).json()["state"] == "rejected"
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "5.00"


async def test_it_is_rejected_taken_back_or_ends(harness: ApiHarness) -> None:
    from ocs.access import overdue

    configured(harness, four_eyes=("accounts.adjust",), approval_s=60)
    await harness.account()
    anna, otto = await person(harness, "anna", "care"), await person(harness, "otto", "billing")
    asked = [(await anna.adjust(f"k{n}", "1.00")).json()["approval"] for n in range(3)]
    cashier = await person(harness, "kim", "cashier")
    assert (await cashier.call("POST", f"/v1/approvals/{asked[0]}/reject", {})).status_code == 403
    assert (await otto.call("POST", f"/v1/approvals/{asked[0]}/reject", {"reason": "no"})).json()["state"] == "rejected"
    assert (await anna.call("POST", f"/v1/approvals/{asked[1]}/reject", {})).json()["decided_by"] == "anna"
    gone = await anna.adjust("k0", "1.00")
    assert (gone.status_code, gone.json()["type"]) == (409, "urn:ocs:problem:conflict")
    harness.ahead_ms += 60_000
    assert (await otto.call("POST", f"/v1/approvals/{asked[2]}/approve", {})).status_code == 409
    assert await overdue.expire(harness.pool, harness.now_ms()) == 1
    page = (await otto.call("GET", "/v1/approvals?limit=2")).json()
    rest = (await otto.call("GET", f"/v1/approvals?after={page['next']}")).json()
    assert [one["state"] for one in page["items"] + rest["items"]] == ["rejected", "rejected", "expired"]
    assert (await harness.call("GET", "/v1/accounts/a1")).json()["balance"] == "0.00"
    await overdue.purge(harness.pool, harness.now_ms() + 91 * 86_400_000)
    assert (await otto.call("GET", "/v1/approvals")).json()["items"] == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"four_eyes": ["accounts.read"]}, "four_eyes of permissions that can wait"),
        ({"four_eyes": ["tokens.write"]}, "four_eyes of permissions that can wait"),
        ({"four_eyes": ["accounts.give-credit"]}, "four_eyes of permissions that can wait"),
        ({"roles": {"x": {"permissions": ["beans.eat"]}}}, "permissions that exist"),
        (
            {"roles": {"x": {"permissions": ["*"], "limits": [{"permission": "accounts.read", "each": "1"}]}}},
            "moves amounts",
        ),
        ({"roles": {"x": {"permissions": ["*"], "limits": [{"permission": "accounts.*"}]}}}, "each, day or both"),
        ({"admin_token": "short"}, "at least 32 characters"),
    ],
    ids=["reads", "secret", "more-of-another", "permission", "limit", "empty-limit", "token"],
)
def test_what_the_configuration_may_not_say(given: dict[str, Any], says: str) -> None:
    from ocs.config.load import ConfigError, _decode

    with pytest.raises(ConfigError, match=says):
        _decode({"access": given}, {}, "x")
    assert msgspec.to_builtins(Access().waiting) == []
