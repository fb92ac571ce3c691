"""Diameter over TLS: both sides are certified, and the certificate is for who the peer says to be."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ocs.net.tls import certified_names, client_context, server_context
from ocs.processes.listeners import CannotListen
from protocol.diameter.dictionary.base import CapabilitiesExchangeAnswer, CapabilitiesExchangeRequest, ErrorAnswer
from protocol.diameter.dictionary.credit_control import CreditControlAnswer
from protocol.diameter.peer import Timers
from protocol.errors import ResultCode
from tests.ocs.net.test_third_party_clients import certify, needs
from tests.ocs.net.world import OctetPeer, World, ccr, cer, until, world

pytestmark = needs("openssl")


@contextlib.asynccontextmanager
async def tls_world(folder: Path) -> AsyncIterator[World]:
    for name in ("ocs", "one", "two", "stranger"):
        certify(folder, f"{name}.example.net", f"{name}-")
    (folder / "ca.pem").write_text("".join((folder / f"{name}-cert.pem").read_text() for name in ("one", "two")))
    context = server_context(*(str(folder / name) for name in ("ocs-cert.pem", "ocs-key.pem", "ca.pem")))
    async with world() as w:

        async def take(end: socket.socket, address: str) -> None:
            link = await w.nodes[0].adopt(end, len(w.links) + 1, address, context)
            if link is not None:
                w.links.append(link)

        w.take = take  # type: ignore[method-assign]
        yield w


async def connect(w: World, folder: Path, name: str | None) -> OctetPeer:
    context = ssl.create_default_context(cafile=str(folder / "ocs-cert.pem"))
    if name is not None:
        context.load_cert_chain(folder / f"{name}-cert.pem", folder / f"{name}-key.pem")
    reader, writer = await asyncio.open_connection("127.0.0.1", w.port, ssl=context, server_hostname="ocs.example.net")
    client = OctetPeer(reader, writer)
    w.clients.append(client)
    return client


async def test_a_certified_peer(tmp_path: Path) -> None:
    async with tls_world(tmp_path) as w:
        client = await connect(w, tmp_path, "one")
        client.send(cer("one.example.net"), ccr(0))
        assert isinstance(await client.message(), CapabilitiesExchangeAnswer)
        assert isinstance(await client.message(), CreditControlAnswer)


async def test_a_certificate_of_somebody_else(tmp_path: Path) -> None:
    async with tls_world(tmp_path) as w:
        client = await connect(w, tmp_path, "two")
        client.send(cer("one.example.net"))
        answer = await client.message()
        assert isinstance(answer, ErrorAnswer)
        assert answer.result_code == ResultCode.UNKNOWN_PEER


@pytest.mark.parametrize("name", [None, "stranger"])
async def test_without_a_certificate_we_trust(tmp_path: Path, name: str | None) -> None:
    async with tls_world(tmp_path) as w:
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            client = await connect(w, tmp_path, name)  # TLS 1.3 tells the client late
            client.send(cer("one.example.net"))
            assert await client.frame() == b""
        await until(lambda: w.count("ocs_connections_total", "diameter", "tls failed") == 1)


async def test_plain_octets_on_the_tls_port(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`Plain Diameter on the TLS port, or a FIN in the handshake, logs an empty or cryptic reason`"""
    async with tls_world(tmp_path) as w:
        client = await w.client()
        client.send(cer("one.example.net"))
        await until(lambda: w.count("ocs_connections_total", "diameter", "tls failed") == 1)
    assert "it does not speak TLS" in capsys.readouterr().out


async def test_the_end_of_the_connection_in_the_handshake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with tls_world(tmp_path) as w:
        client = await w.client()
        client.send(b"\x16\x03\x01")
        client.end()
        await until(lambda: w.count("ocs_connections_total", "diameter", "tls failed") == 1)
    assert "it closed the connection during the" in capsys.readouterr().out


async def test_the_handshake_has_an_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`handshake_s does not cover TLS (60 s)`; here it is 0.6 s"""
    async with tls_world(tmp_path) as w:
        client = await w.client()
        client.send(b"\x16\x03\x01")
        await client.closed(timeout_s=20)
        await until(lambda: w.count("ocs_connections_total", "diameter", "tls failed") == 1)
    assert "the TLS handshake took too long" in capsys.readouterr().out


async def test_who_makes_room_may_be_in_the_handshake(tmp_path: Path) -> None:
    async with tls_world(tmp_path) as w:
        w.nodes[0]._timers = Timers(capabilities_ms=60_000)
        client = await w.client()
        await until(lambda: bool(w.nodes[0]._adopting))
        w.nodes[0].dismiss(1)
        await client.closed(timeout_s=20)
        assert w.count("ocs_connections_total", "diameter", "made room") == 1


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(CannotListen, match="tls_cert"):
        server_context(str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "c"))


def test_names() -> None:
    certificate = {
        "subject": ((("commonName", "PGW.example.net"),),),
        "subjectAltName": (("DNS", "pgw.Example.net"), ("DNS", "alias"), ("IP Address", "1.2.3.4")),
    }
    assert certified_names(certificate) == {"pgw.example.net", "alias"}
    subject = {"subject": ((("commonName", "PGW.example.net"),),)}
    assert certified_names(subject) == {"pgw.example.net"}
    # RFC 6125 section 6.4.4: the common name counts only where there is no alternative name at all
    assert certified_names(subject | {"subjectAltName": (("DNS", "alias"),)}) == {"alias"}
    assert certified_names(subject | {"subjectAltName": (("IP Address", "1.2.3.4"),)}) == frozenset()
    assert certified_names(None) == frozenset()


@pytest.mark.parametrize(("name", "accepted"), [("one", True), ("two", False), ("stranger", False)])
async def test_where_we_connect_the_peer_shows_its_name(
    tmp_path: Path, name: str, accepted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """`connect= dials without TLS although the README says initiator too`"""
    async with tls_world(tmp_path) as w:
        ours, key, ca = (str(tmp_path / one) for one in ("ocs-cert.pem", "ocs-key.pem", "ca.pem"))
        theirs = server_context(str(tmp_path / f"{name}-cert.pem"), str(tmp_path / f"{name}-key.pem"), ours)
        met: asyncio.Queue[OctetPeer] = asyncio.Queue()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            met.put_nowait(OctetPeer(reader, writer))

        peer = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=theirs)
        w.nodes[0].dial("127.0.0.1", peer.sockets[0].getsockname()[1], "one.example.net", client_context(ours, key, ca))
        if accepted:
            client = await asyncio.wait_for(met.get(), 20)
            asked = await client.message(timeout_s=20)
            assert isinstance(asked, CapabilitiesExchangeRequest)
            await client.gone()
        else:
            await until(lambda: "diameter.not_connected" in capsys.readouterr().out, 20)
            while not met.empty():
                client = met.get_nowait()
                assert await client.frame(timeout_s=20) == b""  # not even a CER
        peer.close()
