"""Listening sockets: a taken port is a sentence that names the key."""

import socket

import pytest

from ocs.processes.listeners import HTTP, CannotListen, accept_some, address_of, bind, bind_shared


def test_port_0_is_a_free_one() -> None:
    with bind("diameter.listen", "127.0.0.1", 0) as listener:
        host, _, port = address_of(listener).rpartition(":")
        assert (host, int(port) > 0) == ("127.0.0.1", True)


def test_a_taken_port_is_said_clearly() -> None:
    with bind("diameter.listen", "127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"diameter\.listen: cannot listen on 127\.0\.0\.1:{port}: .*taken"):
            bind("diameter.listen", "127.0.0.1", port)


def test_processes_share_a_port_which_stays_one_servers() -> None:
    several = bind_shared(HTTP, "127.0.0.1", 0, 3)
    where = several[0].getsockname()
    assert [one.getsockname() for one in several] == [where] * 3
    with pytest.raises(CannotListen, match=r"http\.listen: .*taken"):
        bind_shared(HTTP, "127.0.0.1", where[1], 3)
    client = socket.create_connection(where)
    handed: list[str] = []
    for one in several:
        accept_some(one, lambda _connection, host, _port: handed.append(host))
        one.close()
    client.close()
    assert handed == ["127.0.0.1"]


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(CannotListen, match=r"http\.listen"):
        bind("http.listen", "203.0.113.1", 0)
    with pytest.raises(CannotListen, match=r"no address"):
        bind("http.listen", "no such host.invalid", 0)


def test_accepts_what_waits_and_no_more() -> None:
    handed = []
    with bind("x", "127.0.0.1", 0) as listener:
        accept_some(listener, lambda *_: None)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(5)]
        accept_some(listener, lambda connection, host, port: handed.append((host, port)), limit=3)
        assert handed == [client.getsockname() for client in clients[:3]]
        accept_some(listener, lambda connection, host, port: handed.append((host, port)))
        assert handed == [client.getsockname() for client in clients]
        for client in clients:
            client.close()
