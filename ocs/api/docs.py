"""/docs: an interactive reference, whose assets come with it; /docs/plain: the operations without scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Final

from ocs.api.operation import Operation
from ocs.api.problems import PROBLEMS, TYPE

STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
code{font:14px/1.5 ui-monospace,monospace} td{padding:.25rem .75rem .25rem 0;vertical-align:top}
b{display:inline-block;min-width:4rem} small{color:#555}
@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}small{color:#999}a{color:#8bf}}
"""


INTERACTIVE: Final = """<!doctype html>
<html lang=en><meta charset=utf-8><title>ocs API</title><meta name=viewport content="width=device-width">
<link rel=stylesheet href=/docs/swagger-ui.css>
<body><noscript><a href=/docs/plain>The operations without scripts</a></noscript><div id=reference></div>
<script src=/docs/swagger-ui-bundle.js></script><script src=/docs/begin.js></script></html>
"""
BEGIN: Final = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#reference", deepLinking: true, docExpansion: "none", filter: true,
  displayRequestDuration: true, tryItOutEnabled: true, validatorUrl: null, defaultModelsExpandDepth: 0,
});
"""
ASSETS: Final = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}
"""Files of ocs/api/swagger."""
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def assets() -> Mapping[str, tuple[bytes, str]]:
    """Path -> content and media type of all that /docs is made of."""
    folder = files("ocs.api").joinpath("swagger")
    found = {f"/docs/{name}": (folder.joinpath(name).read_bytes(), kind) for name, kind in ASSETS.items()}
    found["/docs/begin.js"] = (BEGIN.encode(), "text/javascript")
    found["/docs"] = (INTERACTIVE.encode(), "text/html")
    return found


def page(operations: Sequence[Operation]) -> str:
    rows = "".join(
        f"<tr><td><code><b>{operation.method}</b>{escape(operation.path.replace(':path', ''))}</code></td>"
        f"<td>{escape(operation.summary)}<br><small>{escape(_needs(operation))}</small></td></tr>"
        for operation in operations
    )
    problems = "".join(
        f"<tr><td><code>{TYPE}{kind}</code></td><td>{row.status}</td><td>{escape(row.title)}</td></tr>"
        for kind, row in PROBLEMS.items()
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>ocs API</title>"
        f"<meta name=viewport content='width=device-width'><style>{STYLE}</style>"
        '<h1>ocs API</h1><p>JSON. Money is decimal strings (<code>"12.345678"</code>), times are RFC 3339. Send'
        " <code>Authorization: Bearer &lt;token&gt;</code>; the token of the first start is in"
        " <code>&lt;data&gt;/admin.token</code>. All types: <a href=/openapi.json>/openapi.json</a> (OpenAPI 3.1).</p>"
        "<p>With curl: <code>curl -H \"Authorization: Bearer $(cat ocs-data/admin.token)\" -H 'Idempotency-Key: 1'"
        ' -d \'{"amount": "5.00"}\' http://127.0.0.1:8080/v1/accounts/demo-1/topups</code>. JSON needs no content type;'
        " documents of tariffs and tables do: <code>-H 'Content-Type: application/toml'"
        " --data-binary @file.toml</code>.</p>"
        f"<table>{rows}</table><h2>Refusals</h2><p>RFC 9457 problem details; <code>type</code> never changes.</p>"
        f"<table>{problems}</table></html>"
    )


def _needs(operation: Operation) -> str:
    needs = [
        ("Idempotency-Key", operation.keyed),
        ("If-Match to change what exists", operation.conditional),
        ("no token", operation.open),
    ]
    return " · ".join([*(name for name, needed in needs if needed), *filter(None, [operation.description])])
