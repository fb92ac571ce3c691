#!/usr/bin/env python3
"""An example receiver of webhooks: tells subscribers, in their language, what happens to their accounts.
(docs/notices.md)

    OCS_WEBHOOK_SECRET=whsec_... python3 docs/examples/notices.py --port 8090 --contacts docs/examples/contacts.toml

It needs Python 3.11 and nothing else. It checks each signature, remembers which events it has seen, renders a text and
writes one line for each notice to its standard output, where yours would call an SMS gateway, a mail server or a push
service.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import os
import sqlite3
import sys
import threading
import time
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TOLERANCE_S = 300
BODY_BYTES_MAX = 1_000_000
KEPT_S = 14 * 86_400
"""How long ids are remembered: deliveries are tried for three days, dead letters are sent again by hand later."""

TEXTS: dict[str, dict[str, str]] = {
    "en": {
        "top_up.received": "Thank you. We received {amount}; your balance is {balance}.",
        "threshold.crossed": "Your balance has fallen below {level}. It is {value} now.",
        "account.suspended": "Your credit is used up. Top up to go on.",
        "account.resumed": "You can use your services again. Your balance is {balance}.",
        "bucket.expiring": "{left} of {bucket_name} can be used until {until}.",
    },
    "de": {
        "top_up.received": "Danke. Wir haben {amount} erhalten, Ihr Guthaben beträgt {balance}.",
        "threshold.crossed": "Ihr Guthaben ist unter {level} gefallen. Es beträgt jetzt {value}.",
        "account.suspended": "Ihr Guthaben ist aufgebraucht. Bitte laden Sie auf.",
        "account.resumed": "Sie können Ihre Dienste wieder nutzen. Ihr Guthaben beträgt {balance}.",
        "bucket.expiring": "{left} von {bucket_name} sind bis {until} nutzbar.",
    },
}


def verified(secret: str, headers: Any, body: bytes, now_s: float) -> bool:
    """Whether one of the signatures is of this secret (Standard Webhooks): HMAC-SHA256 over `id.timestamp.body`."""
    event, at, given = (headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not at.isdigit() or abs(now_s - int(at)) > TOLERANCE_S:
        return False  # an old request that somebody sends again
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.digest(key, f"{event}.{at}.".encode() + body, hashlib.sha256)).decode()
    return any(hmac.compare_digest(f"v1,{expected}", one) for one in given.split(" "))


def money(amount: str, currency: str, language: str) -> str:
    """An amount as people write it: two decimals, the sign of the currency behind."""
    whole, _, decimals = amount.partition(".")
    decimals = decimals.ljust(2, "0")
    return f"{whole}{',' if language == 'de' else '.'}{decimals} {currency}"


def quantity(amount: str, kind: str, currency: str, language: str) -> str:
    """An amount of a bucket: money, or units in words."""
    if kind == "money":
        return money(amount, currency, language)
    if kind == "octets":
        return f"{int(amount) // 1_000_000} MB"
    if kind == "seconds":
        return f"{int(amount) // 60} min"
    return amount


def rendered(event: dict[str, Any], language: str) -> str | None:
    """The notice; None: nobody is told of such an event."""
    template = TEXTS[language].get(event["type"])
    if template is None:
        return None
    data = event["data"]
    currency = data.get("currency", "")
    words: dict[str, str] = {name: str(value) for name, value in data.items()}
    for name in ("balance", "level", "value"):
        if name in data:
            words[name] = money(data[name], currency, language)
    if event["type"] == "top_up.received":
        first = data["buckets"][0]
        words["amount"] = quantity(first["amount"], first["kind"], currency, language)
        words["balance"] = quantity(first["after"], first["kind"], currency, language)
    if event["type"] == "bucket.expiring":
        words["left"] = quantity(data["amount"], data["kind"], currency, language)
        words["until"] = data["until"][:10]
    return template.format_map(words)


class Seen:
    """Ids of events that were told, in a file, so that a repetition after a restart is not told again."""

    def __init__(self, file: str) -> None:
        self._db = sqlite3.connect(file, check_same_thread=False)
        self._db.execute("CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, at INTEGER NOT NULL)")

    def __contains__(self, event: str) -> bool:
        return self._db.execute("SELECT 1 FROM seen WHERE id = ?", (event,)).fetchone() is not None

    def add(self, event: str, now_s: float) -> None:
        with self._db:
            self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (event, int(now_s)))
            self._db.execute("DELETE FROM seen WHERE at < ?", (int(now_s) - KEPT_S,))


def serve(port: int, secret: str, contacts: dict[str, Any], seen: Seen) -> None:
    default = contacts.get("default", {})
    one_by_one = threading.Lock()  # each connection has a thread

    def tell(event: dict[str, Any]) -> None:
        contact = {**default, **contacts.get("accounts", {}).get(event.get("account", ""), {})}
        text = rendered(event, contact.get("language", "en"))
        if text is not None and "to" in contact:
            sys.stdout.write(f"{contact.get('by', 'sms')} to {contact['to']}: {text}\n")
            sys.stdout.flush()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_POST(self) -> None:
            length = self.headers.get("content-length", "")
            if not length.isdigit() or int(length) > BODY_BYTES_MAX:
                self.close_connection = True
                self.answer(413)
                return
            body = self.rfile.read(int(length))
            if not verified(secret, self.headers, body, time.time()):
                self.answer(401)
                return
            event = json.loads(body)
            with one_by_one:
                if event["id"] not in seen:
                    tell(event)
                    seen.add(event["id"], time.time())  # after: better told twice than never
            self.answer(204)

        def answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        sys.stderr.write(f"listening on http://127.0.0.1:{server.server_port}/\n")
        sys.stderr.flush()
        server.serve_forever()


def main() -> None:
    options = argparse.ArgumentParser(description="Tells subscribers what happens to their accounts.")
    options.add_argument("--port", type=int, default=8090)
    options.add_argument("--contacts", type=Path, required=True, help="TOML: who is told, how and in which language")
    options.add_argument("--seen", default="notices.db", help="file that remembers which events were told")
    given = options.parse_args()
    serve(given.port, os.environ["OCS_WEBHOOK_SECRET"], tomllib.loads(given.contacts.read_text()), Seen(given.seen))


if __name__ == "__main__":
    main()
