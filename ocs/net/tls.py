"""TLS from the first octet: Diameter (RFC 6733 section 13, port 5658) and RadSec (RFC 6614). Both sides show a
certificate."""

from __future__ import annotations

import ssl
from typing import Any, Final

from ocs.processes.listeners import CannotListen


def server_context(cert: str, key: str, ca: str, table: str = "diameter") -> ssl.SSLContext:
    """TLS 1.2 or newer; a client without a certificate of one of our authorities is not heard. table: of the
    configuration, that the files are named in"""
    context = certified_server(cert, key, table)
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(ca)
    except (OSError, ssl.SSLError) as why:
        raise CannotListen(f"{table}.tls_ca: {ca}: {_words(why)}") from None
    return context


def certified_server(cert: str, key: str, table: str) -> ssl.SSLContext:
    """TLS 1.2 or newer, with our certificate; nobody has to show one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as why:
        raise CannotListen(f"{table}.tls_cert, {table}.tls_key: {cert}, {key}: {_words(why)}") from None
    return context


def _words(why: OSError) -> str:
    """The reason of an OpenSSL error in words."""
    reason = getattr(why, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate"
    if reason in ("NO_START_LINE", "NO_CERTIFICATE_OR_CRL_FOUND", "BAD_BASE64_DECODE") or "PEM lib" in str(why):
        return "expected PEM, which begins with a line such as -----BEGIN CERTIFICATE-----"
    return why.strerror or str(why)


def client_context(cert: str, key: str, ca: str) -> ssl.SSLContext:
    """The same where we connect. Whose certificate it is, is compared by the caller: a peer's name need not be that of
    the host we connect to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(cert, key)
        context.load_verify_locations(ca)
    except (OSError, ssl.SSLError) as why:
        raise CannotListen(f"diameter.tls_cert, tls_key, tls_ca: {cert}, {key}, {ca}: {why}") from None
    return context


def certified_names(certificate: dict[str, Any] | None) -> frozenset[str]:
    """DNS names of a verified certificate, lower case; its common name only where it has no alternative names at all
    (RFC 6125 section 6.4.4)."""
    if not certificate:
        return frozenset()
    alternative = certificate.get("subjectAltName", ())
    names = {value for kind, value in alternative if kind == "DNS"}
    if not alternative:
        names = {value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"}
    return frozenset(name.lower() for name in names)


PLAINLY: Final = {
    "WRONG_VERSION_NUMBER": "it does not speak TLS: what is plain belongs to another port",
    "UNKNOWN_PROTOCOL": "it does not speak TLS: what is plain belongs to another port",
    "HTTP_REQUEST": "it speaks HTTP",
    "UNSUPPORTED_PROTOCOL": "it speaks no TLS newer than 1.1",
    "NO_SHARED_CIPHER": "it has no cipher in common with us",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust who issued our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "our certificate has expired, it says",
    "UNEXPECTED_EOF_WHILE_READING": "it closed the connection during the TLS handshake",
}


def plainly(why: BaseException) -> str:
    """Why a connection failed, in words."""
    if isinstance(why, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {why.verify_message}"
    if isinstance(why, ssl.SSLError):
        return PLAINLY.get(why.reason or "", f"TLS failed: {why.reason or why}")
    if isinstance(why, TimeoutError) or "handshake is taking longer" in str(why):
        return "the TLS handshake took too long"
    if isinstance(why, ConnectionResetError | ConnectionAbortedError | BrokenPipeError) or not str(why):
        return "it closed the connection during the handshake"
    return str(why)
