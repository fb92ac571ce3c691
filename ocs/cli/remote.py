"""The HTTP API from the command line, with what the standard library has."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import click

from ocs.cli.given import PATH, given
from ocs.cli.output import say
from ocs.telemetry.visible import visible

if TYPE_CHECKING:
    from http.client import HTTPConnection
    from ssl import SSLContext

F = TypeVar("F", bound=Callable[..., Any])

WAIT_S: Final = 30
PIECE_BYTES: Final = 65_536


class RequestRefused(click.ClickException):
    """The server refused the request, or was not reached: exit code 1."""

    def __init__(self, text: str, kind: str = "", unsure: bool = False) -> None:
        """unsure:  the request may have taken effect all the same"""
        super().__init__(visible(text))
        self.kind, self.unsure = kind, unsure


class WaitsForApproval(click.ClickException):
    """Nothing is wrong: another person has to approve it first."""

    exit_code = 0

    def show(self, file: Any = None) -> None:
        say(self.message)


class Remote:
    """One server and the token for it."""

    def __init__(self, url: str, token: str, source: str = "", trusted: str = "") -> None:
        """
        source:  where the token was found, for people whom the server refuses
        trusted: file with the server's own certificate, where it is on this machine; "": as the system says
                 (and SSL_CERT_FILE in the environment)
        """
        self._trusted = trusted
        self._url = urlsplit(url)
        if self._url.scheme not in ("http", "https") or not self._url.hostname:
            raise RequestRefused(f"{url}: expected http://host:port")
        self._token, self._source = token, source

    def get(self, *path: str, **query: Any) -> Any:
        return self.ask("GET", *path, query=query)[0]

    def put(self, *path: str, body: Any, media_type: str = "application/json") -> Any:
        """Create or change: with the version that is there now, so that nothing unseen is overwritten."""
        try:
            headers = {"If-Match": self.ask("GET", *path)[1]}
        except RequestRefused as why:
            if not why.kind.endswith(":not-found"):
                raise
            headers = {"If-None-Match": "*"}
        return self.ask("PUT", *path, body=body, headers=headers, media_type=media_type)[0]

    def post(self, *path: str, body: Any = None, key: str | None = None, wait_s: float = WAIT_S) -> Any:
        key = key or os.urandom(16).hex()
        return self.ask("POST", *path, body=body, headers={"Idempotency-Key": key}, wait_s=wait_s)[0]

    def post_once(self, *path: str, body: Any, key: str | None) -> Any:
        """A POST of a command with --key: where nobody knows whether it was done, it is told with the key that it had,
        so that a repetition cannot do it twice."""
        key = key or os.urandom(16).hex()
        try:
            return self.post(*path, body=body, key=key)
        except RequestRefused as why:
            if not why.unsure:
                raise
            raise RequestRefused(
                f"{why.message}; once, however often it is repeated, with --key {key}", why.kind
            ) from None

    def patch(self, *path: str, body: Any) -> Any:
        """Change some of what is there, in the version that is there now."""
        return self.ask("PATCH", *path, body=body, headers={"If-Match": self.ask("GET", *path)[1]})[0]

    def delete(self, *path: str) -> None:
        self.ask("DELETE", *path, headers={"If-Match": self.ask("GET", *path)[1]})

    async def stream(
        self,
        *path: str,
        query: Mapping[str, Any],
        media_type: str,
        pieces: Iterable[bytes],
    ) -> AsyncGenerator[dict[str, Any], None]:
        """POST pieces of any number, and the events that the server answers meanwhile (a JSON object per line). Where
        the connection is cut they simply end."""
        from ocs.cli.streaming import OtherAnswer, exchange  # not for --help

        target = "/v1/" + "/".join(quote(part, safe="") for part in path) + "?" + urlencode(query)
        tls = self._tls() if self._url.scheme == "https" else None
        try:
            async with contextlib.aclosing(exchange(self._url, tls, self._token, target, media_type, pieces)) as lines:
                async for line in lines:
                    yield json.loads(line)
        except OtherAnswer as other:
            raise self._refused(other.status, other.body) from None
        except OSError as why:
            raise RequestRefused(
                f"no server at {self._url.geturl()}: {why} (is `ocs run` running?)", unsure=True
            ) from None

    async def follow(self, *path: str, query: Mapping[str, Any], last_id: str) -> AsyncGenerator[str, None]:
        """Server-sent events after one, the data of each, for ever: where the connection is cut it is made again."""
        from ocs.cli.follow import follow  # not for --help
        from ocs.cli.streaming import OtherAnswer

        given = {name: value for name, value in query.items() if value is not None}
        target = "/v1/" + "/".join(quote(part, safe="") for part in path) + ("?" + urlencode(given) if given else "")
        tls = self._tls() if self._url.scheme == "https" else None
        try:
            async with contextlib.aclosing(follow(self._url, tls, self._token, target, last_id)) as events:
                async for data in events:
                    yield data
        except OtherAnswer as other:
            raise self._refused(other.status, other.body) from None
        except OSError as why:
            raise RequestRefused(f"no server at {self._url.geturl()}: {why} (is `ocs run` running?)") from None

    def download(self, *path: str, query: Mapping[str, Any]) -> Iterator[bytes]:
        """An answer of any length, piece by piece. Raises EOFError where it is cut."""
        from http.client import HTTPException, IncompleteRead  # not for --help

        given = {name: value for name, value in query.items() if value is not None}
        target = "/v1/" + "/".join(path) + ("?" + urlencode(given) if given else "")
        with contextlib.closing(self._connection(WAIT_S)) as connection:
            try:
                connection.request("GET", target, headers={"Authorization": f"Bearer {self._token}"})
                answer = connection.getresponse()
                if answer.status >= 400:
                    raise self._refused(answer.status, answer.read())
            except (OSError, HTTPException) as why:
                raise RequestRefused(f"no server at {self._url.geturl()}: {why} (is `ocs run` running?)") from None
            try:
                while piece := answer.read(PIECE_BYTES):
                    yield piece
            except IncompleteRead as cut:
                yield cut.partial
                raise EOFError from None
            except (OSError, HTTPException):
                raise EOFError from None

    def _connection(self, wait_s: float) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection  # not for --help: it imports ssl

        where = (self._url.hostname or "", self._url.port)
        if self._url.scheme == "https":
            return HTTPSConnection(*where, timeout=wait_s, context=self._tls())
        return HTTPConnection(*where, timeout=wait_s)

    def _tls(self) -> SSLContext:
        import ssl  # not for --help

        if not self._trusted:
            return ssl.create_default_context()
        context = ssl.create_default_context(cafile=self._trusted)
        context.check_hostname = False  # it may be called otherwise than by its address
        return context

    def _refused(self, status: int, text: bytes) -> RequestRefused:
        if status == 401 and self._source:
            return RequestRefused(
                f"the server at {self._url.geturl()} does not know the token from {self._source}: it knows the one in"
                f" admin.token of its own data directory"
            )
        return _refusal(status, text)

    def ask(
        self,
        method: str,
        *path: str,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        media_type: str = "application/json",
        wait_s: float = WAIT_S,
    ) -> tuple[Any, str]:
        """The answer and its ETag."""
        from http.client import HTTPException  # not for --help: it imports ssl

        if not all(path):
            raise RequestRefused("a name may not be empty")
        target = "/v1/" + "/".join(quote(part, safe="") for part in path)
        given = {name: value for name, value in (query or {}).items() if value is not None}
        if given:
            target += "?" + urlencode(given)
        sent = {"Authorization": f"Bearer {self._token}", "Content-Type": media_type, **(headers or {})}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = self._connection(wait_s)
        try:
            connection.request(method, target, content, sent)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException) as why:
            trouble = f"no server at {self._url.geturl()}: {why} (is `ocs run` running?)"
            raise RequestRefused(trouble, unsure=not isinstance(why, ConnectionRefusedError)) from None
        finally:
            connection.close()
        if answer.status >= 400:
            raise self._refused(answer.status, text)
        found = json.loads(text) if text else None
        if answer.status == 202 and found is not None and "approval" in found:
            raise WaitsForApproval(
                f"approval {found['approval']}: another person has to approve it until {found['expires']}"
                f" (ocs approval approve {found['approval']})"
            )
        return found, answer.headers.get("ETag", "")


def _refusal(status: int, text: bytes) -> RequestRefused:
    try:
        problem = json.loads(text)
        return RequestRefused(problem["detail"] or problem["title"], problem["type"], unsure=status >= 500)
    except (ValueError, KeyError, TypeError):
        return RequestRefused(
            f"the server answered {status}: {text[:200].decode(errors='replace')}", unsure=status >= 500
        )


_FIELD: Final = re.compile(r"(?:query: )?([a-z_]+)(?:\[(\d+)\])?((?:\.[a-z_]+(?:\[\d+\])?)*): ")


def as_typed(text: str, params: Sequence[click.Parameter]) -> str:
    """What a server says of a field of a body, or a parameter of a query, said of the option or argument that it was
    typed as: `identities[0]` is the first --identity. What is inside of something that came from a file keeps its
    place."""
    found = _FIELD.match(text)
    if found is None:
        return text
    field, place = found[1], found[2]
    spelled = {f"--{field.replace('_', '-')}", f"--{field.removesuffix('_s').replace('_', '-')}"}
    typed = [one for one in params if one.name == field] or [one for one in params if spelled & {*one.opts}]
    if not typed and (place is None or found[3]):  # the name of a file, or what one says
        return text
    if not typed:
        name = field
    elif isinstance(typed[0], click.Argument):
        name = typed[0].human_readable_name
    else:
        name = max(typed[0].opts, key=len)
    number = "" if place is None else f", number {int(place) + 1}"
    return f"{name}{number}: {text[found.end() :]}"


def remote(command: F) -> F:
    """Options that say which server; the command's first argument becomes the `Remote`."""

    def connected(
        url: str | None,
        token: str | None,
        token_file: Path | None,
        config: Path | None,
        data: Path | None,
        **arguments: Any,
    ) -> Any:
        try:
            return command(connect(url, config, data, token, token_file), **arguments)
        except RequestRefused as why:
            typed = as_typed(why.message, click.get_current_context().command.params)
            raise RequestRefused(typed, why.kind, why.unsure) from None

    connected.__doc__, connected.__name__ = command.__doc__, command.__name__
    # Options that were declared below this decorator.
    connected.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in (
        click.option("--data", type=PATH, help="Data directory with the token (ocs-data)."),
        click.option("--config", type=PATH, help="Configuration that says where it is."),
        click.option("--token-file", type=PATH, help="File with the API token; else OCS_TOKEN_FILE."),
        click.option(
            "--token",
            callback=given,
            help="The API token itself (others on this machine can see it); else OCS_TOKEN.",
        ),
        click.option(
            "--url", callback=given, help="The server; else OCS_URL, else as configured (http://127.0.0.1:8080)."
        ),
    ):
        connected = option(connected)
    return connected  # type: ignore[return-value]


def connect(
    url: str | None, file: Path | None, data: Path | None, token: str | None = None, token_file: Path | None = None
) -> Remote:
    """The server and the token for it: as an option says, else the environment, else what is configured here. From
    another machine, url and token are all that is needed."""
    from ocs.config.load import ConfigError, load
    from ocs.config.tree import Config

    def config() -> Config:
        try:
            return load(file, data=data)
        except ConfigError as why:
            raise RequestRefused(str(why)) from None

    url = url or _environment("OCS_URL")
    source = "--token"
    if token is None and token_file is None and data is None:
        token, source = _environment("OCS_TOKEN"), "OCS_TOKEN"
        place = _environment("OCS_TOKEN_FILE") if token is None else None
        token_file = Path(place) if place is not None else None
    if token is None:
        configured = config().access.admin_token.reveal() if token_file is None and data is None else ""
        kept = token_file or config().data / "admin.token"
        token, source = (configured, "access.admin_token") if configured else (_token_in(kept), str(kept))
    if not token.strip() or not token.isascii() or not token.isprintable():
        raise RequestRefused("the token: expected visible ASCII characters")
    if url is not None:
        return Remote(url, token.strip(), source)
    http = config().http
    return Remote(f"{http.scheme}://{http.listen}", token.strip(), source, http.tls_cert)


def _environment(name: str) -> str | None:
    """An empty one is a mistake: it would mean another server, or another token, than was meant."""
    value = os.environ.get(name)
    if value is not None and not value.strip():
        raise RequestRefused(f"{name} is empty: unset it for the default")
    return value


def _token_in(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except UnicodeDecodeError:
        raise RequestRefused(f"{file}: not a token") from None
    except OSError as why:
        others = "say where the token is: --token-file, OCS_TOKEN, or --data with the data directory of the server"
        raise RequestRefused(f"{file}: {why.strerror}; {others}") from None
