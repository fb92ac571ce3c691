"""A small charging server to test the witness on: Diameter by `protocol`, the HTTP API by hand, money in a dict.

It is right unless a fault is planted, and then the audit has to say so.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from math import ceil
from typing import Any, cast

from protocol.diameter.dictionary.base import DisconnectCause, ReAuthRequestType
from protocol.diameter.dictionary.credit_control import (
    CcRequestType,
    CreditControlAnswer,
    CreditControlRequest,
    GrantedServiceUnit,
    MultipleServicesCreditControl,
    ReAuthRequest,
    UsedServiceUnit,
)
from protocol.diameter.frames import FrameBuffer
from protocol.diameter.message import DiameterCommand
from protocol.diameter.peer import Action, Close, DeliverRequest, LocalPeer, PeerTable, Send, Timers
from protocol.diameter.types import HostAddress

SERVICES = {"32251": "data", "32260": "voice", "32274": "sms"}
UNITS = {"octets": "cc_total_octets", "seconds": "cc_time", "units": "cc_service_specific_units"}
GRANT = {"octets": 4_194_304, "seconds": 60, "units": 1}
Line = tuple[str, int]


class Fake:
    """What is wrong with it is in the attributes set after it was made."""

    def __init__(self) -> None:
        self.charges_repeats = False
        self.lose_answer_of: set[int] = set()
        """Ordinal numbers of CCRs that are charged and not answered, not even when they come again."""
        self.drop_once: set[int] = set()
        """The same, but only the first time."""
        self.overcharge_at = 0
        self.forget_entry_at = 0
        self.too_busy_at: set[int] = set()
        self.held_left = 0
        """Micro-units that stay held for ever, on every account."""

        self.suspend_below: int | None = None
        """Micro-units below which an account is granted nothing."""
        self.tells = False
        """Open sessions of such an account are sent a RAR."""

        self.balances: dict[str, int] = {}
        self.entries: dict[str, list[dict[str, Any]]] = {}
        self.subscribers: dict[str, dict[str, Any]] = {}
        self.accounts_of: dict[str, str] = {}
        self.tariffs: dict[str, dict[str, Any]] = {}
        self.keys: dict[tuple[str, str], Any] = {}
        self.lines: dict[tuple[str, Line], int] = {}
        self.sessions: dict[str, str] = {}
        self.answers: dict[tuple[str, int, int], CreditControlAnswer] = {}
        self._silent: set[tuple[str, int, int]] = set()
        self.requests = self.repeats = self.charges = 0
        self.diameter_port = self.http_port = 0
        self.peers = PeerTable(
            LocalPeer("ocs.example.net", "example.net", (HostAddress.of("127.0.0.1"),)),
            Timers(),
            admit=lambda cer: True,
            several=lambda host: False,
            jitter_ms=lambda: 0,
            end_to_end=1,
        )
        self.transports: set[asyncio.Transport] = set()
        self.links: list[_Diameter] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Fake"]:
        loop = asyncio.get_running_loop()
        diameter = await loop.create_server(lambda: _Diameter(self), "127.0.0.1", 0)
        http = await asyncio.start_server(self._http, "127.0.0.1", 0)
        self.diameter_port = diameter.sockets[0].getsockname()[1]
        self.http_port = http.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            diameter.close()
            http.close()
            for transport in self.transports:
                transport.abort()
            await asyncio.sleep(0)

    def leave(self) -> None:
        """DPR on every connection: it is stopped in order."""
        for link in self.links:
            link.leave()

    # ---- charging

    def charge(self, ccr: CreditControlRequest) -> bytes | None:
        self.requests += 1
        self.repeats += ccr.is_retransmitted
        number, kind = self.requests, int(ccr.cc_request_type)
        if number in self.too_busy_at:
            return self._plain(ccr, 3004).answer(ccr)
        key = (ccr.session_id, kind, ccr.cc_request_number)
        kept = self.answers.get(key)
        if kept is None or self.charges_repeats:
            kept = self.answers[key] = self._decide(ccr)
            if number in self.lose_answer_of:
                self._silent.add(key)
        if key in self._silent or number in self.drop_once:
            return None
        return kept.answer(ccr)

    def _decide(self, ccr: CreditControlRequest) -> CreditControlAnswer:
        identity = next(f"msisdn:{s.subscription_id_data}" for s in ccr.subscription_id)
        account = self.accounts_of.get(identity)
        if account is None:
            return self._plain(ccr, 5030)
        service = SERVICES[ccr.service_context_id.partition("@")[0][-5:]]
        if ccr.cc_request_type is CcRequestType.EVENT_REQUEST:
            cost = self._cost(identity, service, None, "units", 1)
            if cost > self.balances[account]:
                return self._plain(ccr, 4012)
            self._debit(account, cost)
            return self._plain(ccr, 2001)
        if ccr.cc_request_type is CcRequestType.TERMINATION_REQUEST:
            self.sessions.pop(ccr.session_id, None)
        else:
            self.sessions[ccr.session_id] = account
        answers = []
        for line in ccr.multiple_services_credit_control:
            unit = self._unit(identity, service, line.rating_group)
            for used in line.used_service_unit:
                self._settle(ccr.session_id, account, identity, service, line.rating_group, used)
            result: int | None = None
            grant: GrantedServiceUnit | None = None
            if line.requested_service_unit is not None:
                members: dict[str, Any] = {UNITS[unit]: GRANT[unit]}
                result, grant = 2001, GrantedServiceUnit(**members)
                cost = self._cost(identity, service, line.rating_group, unit, GRANT[unit])
                if cost > self.balances[account] or self._is_suspended(account):
                    result, grant = 4012, None
            answers.append(
                MultipleServicesCreditControl(
                    rating_group=line.rating_group, granted_service_unit=grant, validity_time=600, result_code=result
                )
            )
        return self._plain(ccr, 2001, tuple(answers))

    def _settle(
        self, session: str, account: str, identity: str, service: str, group: int | None, used: UsedServiceUnit
    ) -> None:
        unit = self._unit(identity, service, group)
        amount = getattr(used, UNITS[unit]) or 0
        line = (session, (service, group or 0))
        before = self.lines.get(line, 0)
        self.lines[line] = before + amount
        cost = self._cost(identity, service, group, unit, before + amount)
        self._debit(account, cost - self._cost(identity, service, group, unit, before))

    def _debit(self, account: str, cost: int) -> None:
        if not cost:
            return
        self.charges += 1
        cost += self.charges == self.overcharge_at
        was_suspended = self._is_suspended(account)
        self.balances[account] -= cost
        if self._is_suspended(account) and not was_suspended and self.tells:
            self._tell(account)
        if self.charges != self.forget_entry_at:
            self._enter(account, -cost)

    def _is_suspended(self, account: str) -> bool:
        return self.suspend_below is not None and self.balances[account] < self.suspend_below

    def _tell(self, account: str) -> None:
        for session in [one for one, payer in self.sessions.items() if payer == account]:
            rar = ReAuthRequest(
                session_id=session,
                origin_host="ocs.example.net",
                origin_realm="example.net",
                destination_realm="example.net",
                destination_host=session.partition(";")[0],
                auth_application_id=4,
                re_auth_request_type=ReAuthRequestType.AUTHORIZE_ONLY,
            )
            self.links[-1].push(rar)

    def _enter(self, account: str, amount: int) -> None:
        entries = self.entries[account]
        after = sum(_micro(entry["amount"]) for entry in entries) + amount
        entry = {"seq": len(entries) + 1, "amount": _text(amount), "balance_after": _text(after)}
        entries.append(entry | {"bucket": 1, "kind": "money", "why": "use"})

    def _row(self, identity: str, service: str, group: int | None) -> dict[str, Any]:
        subscriber = next(s for s in self.subscribers.values() if identity in s["identities"])
        for row in self.tariffs[subscriber["tariffs"][0]["tariff"]]["rows"]:
            when = row["when"]
            if when["service"] == service and when.get("rating_group", group) == group:
                return dict(row)
        raise AssertionError(f"no row for {service} {group}")

    def _unit(self, identity: str, service: str, group: int | None) -> str:
        row = self._row(identity, service, group)
        unit = row["free"]["unit"] if "free" in row else row["flat"]["per"].split()[1]
        return {"s": "seconds"}.get(unit, str(unit))

    def _cost(self, identity: str, service: str, group: int | None, unit: str, units: int) -> int:
        row = self._row(identity, service, group)
        if "free" in row:
            return 0
        per, price = int(row["flat"]["per"].split()[0]), Fraction(row["flat"]["price"]) * 1_000_000
        return ceil(ceil(Fraction(units, per)) * price)

    def _plain(
        self, ccr: CreditControlRequest, result: int, lines: tuple[MultipleServicesCreditControl, ...] = ()
    ) -> CreditControlAnswer:
        return CreditControlAnswer(
            session_id=ccr.session_id,
            result_code=result,
            origin_host="ocs.example.net",
            origin_realm="example.net",
            auth_application_id=4,
            cc_request_type=ccr.cc_request_type,
            cc_request_number=ccr.cc_request_number,
            multiple_services_credit_control=lines,
        )

    # ---- the HTTP API

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := (await reader.readline()).decode():
                method, target, _ = line.split(" ", 2)
                headers = {}
                while (header := (await reader.readline()).decode().strip()) != "":
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                content = await reader.readexactly(int(headers.get("content-length", 0)))
                if headers.get("content-type") == "application/x-ndjson":
                    assert (method, target.partition("?")[0]) == ("POST", "/v1/import")
                    status, answer, media_type = 200, self._import(content.splitlines()), headers["content-type"]
                else:
                    media_type = "application/json"
                    body = json.loads(content) if content else None
                    status, answer = self._route(method, target, body, headers)
                text = json.dumps(answer).encode()
                etag = f'ETag: "{answer.get("version", 1)}"\r\n' if status == 200 else ""
                head = f"HTTP/1.1 {status} X\r\n{etag}Content-Type: {media_type}\r\n"
                writer.write(f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _import(self, lines: list[bytes]) -> dict[str, Any]:
        counts = dict.fromkeys(("accounts_created", "accounts_unchanged", "subscribers_created", "errors"), 0)
        for line in map(json.loads, lines):
            if "account" in line:
                name, is_new = line["account"]["id"], line["account"]["id"] not in self.balances
                counts["accounts_created" if is_new else "accounts_unchanged"] += 1
                if is_new:
                    self.balances[name] = _micro(line["account"]["balance"])
                    self.entries[name] = []
                    self._enter(name, self.balances[name])
            body = line["subscriber"]
            if body["id"] not in self.subscribers:
                counts["subscribers_created"] += 1
                self.subscribers[body["id"]] = body | {"version": 7}
                self.accounts_of |= dict.fromkeys(body["identities"], body["account"])
        return {"event": "done"} | counts

    def _route(self, method: str, target: str, body: Any, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        assert headers["authorization"] == "Bearer secret"
        path, _, query = target.partition("?")
        match [method, *path.split("/")[2:]]:
            case ["PUT", "tariffs", name]:
                self.tariffs[name] = body
                return 201, {}
            case ["GET", "tariffs", name]:
                return (200, {"document": json.dumps(self.tariffs[name])}) if name in self.tariffs else (404, {})
            case ["PUT", "accounts", name]:
                self.balances.setdefault(name, 0)
                self.entries.setdefault(name, [])
                return 201, {}
            case ["GET", "accounts", name] if name in self.balances:
                balance, entries = _text(self.balances[name]), self.entries[name]
                return 200, {"balance": balance, "held": _text(self.held_left), "seq": len(entries)}
            case ["POST", "accounts", name, "topups"]:
                key = (name, headers["idempotency-key"])
                if key not in self.keys:
                    self.balances[name] += _micro(body["amount"])
                    self._enter(name, _micro(body["amount"]))
                    self.keys[key] = {"balance": _text(self.balances[name])}
                return 201, self.keys[key]
            case ["GET", "accounts", name, "ledger"]:
                after = int(dict(pair.split("=") for pair in query.split("&"))["after_seq"])
                rows = [row for row in self.entries[name] if row["seq"] > after]
                return 200, {"items": rows[:100], "next_after_seq": rows[99]["seq"] if len(rows) > 100 else None}
            case ["PUT", "subscribers", name]:
                if name in self.subscribers and headers.get("if-match") != '"7"':
                    return 428, {"detail": "Send If-Match"}
                self.subscribers[name] = body | {"version": 7}
                self.accounts_of |= dict.fromkeys(body["identities"], body["account"])
                return 201, {}
            case ["GET", "subscribers", name] if name in self.subscribers:
                return 200, self.subscribers[name]
            case _:
                return 404, {"title": "There is no such thing"}


class _Diameter(asyncio.Protocol):
    def __init__(self, fake: Fake) -> None:
        self.fake, self.frames, self.loop = fake, FrameBuffer(), asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.peer = self.fake.peers.accepted(0)
        self.fake.transports.add(self.transport)
        self.fake.links.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.fake.transports.discard(self.transport)
        self._act(self.peer.lost(0))

    def push(self, request: DiameterCommand) -> None:
        self._act(self.peer.send_request(request, None, 0))

    def leave(self) -> None:
        self._act(self.peer.stop(DisconnectCause.REBOOTING, 0))

    def data_received(self, data: bytes) -> None:
        for frame in self.frames.feed(data):
            self._act(self.peer.received(frame, 0))

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(octets=octets):
                    self.transport.write(octets)
                case Close():
                    self.transport.close()
                case DeliverRequest(frame=frame):
                    answer = self.fake.charge(CreditControlRequest.decode(frame))
                    if answer is not None:
                        self.transport.write(answer)
                case _:
                    pass


def _micro(text: str) -> int:
    return int(Fraction(text) * 1_000_000)


def _text(micro: int) -> str:
    """As plainly as JSON allows; the tests are about the numbers."""
    return f"{'-' * (micro < 0)}{abs(micro) // 1_000_000}.{abs(micro) % 1_000_000:06d}"
