"""Diameter over TLS from the first octet (RFC 6733 section 13, port 5658). Both sides show a certificate."""

from __future__ import annotations

import ssl
from typing import Any

from ocs.net.listeners import CannotListen


def server_context(cert: str, key: str, ca: str) -> ssl.SSLContext:
    """TLS 1.2 or newer; a client without a certificate of one of our authorities is not heard."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as why:
        raise CannotListen(f"diameter.tls_cert, diameter.tls_key: {cert}, {key}: {_words(why)}") from None
    try:
        context.load_verify_locations(ca)
    except (OSError, ssl.SSLError) as why:
        raise CannotListen(f"diameter.tls_ca: {ca}: {_words(why)}") from None
    return context


def _words(why: OSError) -> str:
    """What OpenSSL means."""
    reason = getattr(why, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate"
    if reason in ("NO_START_LINE", "NO_CERTIFICATE_OR_CRL_FOUND", "BAD_BASE64_DECODE") or "PEM lib" in str(why):
        return "expected PEM, which begins with a line such as -----BEGIN CERTIFICATE-----"
    return why.strerror or str(why)


def certified_names(certificate: dict[str, Any] | None) -> frozenset[str]:
    """DNS names and common name of a verified certificate, lower case."""
    if not certificate:
        return frozenset()
    names = {value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}
    for part in certificate.get("subject", ()):
        names |= {value for kind, value in part if kind == "commonName"}
    return frozenset(name.lower() for name in names)
