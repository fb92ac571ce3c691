"""A child process that dies with us and need not be root: what stands between fork and exec of an embedded server.

`wrap(command, ...)` runs this file as a script first. It asks for its death signal, lowers its priority and changes its
user, then becomes the command under the same pid. After exec and not in a preexec_fn, because Python code between fork
and exec may deadlock in a process with threads, and newer Pythons warn of it. It imports nothing of ours: Python runs
it with -I -S.

`who` is one of  self | namespace:UID:GID (as ourselves, but seen under another uid) | user:UID:GID.
"""

import contextlib
import ctypes
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000


def wrap(command: list[str], who: str, death_signal: signal.Signals, nice: int = 0) -> list[str]:
    """`command`, to be started so that it gets `death_signal` when the thread that starts it ends. nice: by how much it
    gives way to our other processes."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(death_signal)), str(nice), who, *command]


def works(who: str, script: str, *arguments: str) -> bool:
    """Whether a shell script, with its arguments from $0 on, succeeds as this user."""
    command = wrap(["/bin/sh", "-c", script, *arguments], who, signal.SIGKILL)
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def namespace() -> str:
    """Ourselves in a user namespace where we are not uid 0."""
    inside = other_user()  # initdb wants the uid it sees to have a name
    return f"namespace:{inside.pw_uid}:{inside.pw_gid}"


def other_user() -> pwd.struct_passwd:
    users = {user.pw_name: user for user in pwd.getpwall() if user.pw_uid != 0}
    for name in ("postgres", "nobody", *users):
        if name in users:
            return users[name]
    raise OSError("PostgreSQL will not run as root and this system has no other user")


def _become() -> NoReturn:
    parent, death_signal, nice, who, *command = sys.argv[1:]
    _give_way(int(nice))
    match who.split(":"):
        case ["namespace", uid, gid]:
            _enter_namespace(int(uid), int(gid))
        case ["user", uid, gid]:
            os.setgroups([])
            os.setgid(int(gid))
            os.setuid(int(uid))
        case ["self"]:
            pass
        case _:
            sys.exit(f"cannot become {who}")
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal))  # last: a change of user clears it
    if os.getppid() != int(parent):
        sys.exit("the parent is gone already")
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.umask(0o077)
    os.execv(command[0], command)


def _give_way(nice: int) -> None:
    """For good, with all children. Where Linux weighs sessions and not processes (autogroup, a default of kernels for
    what stands in no group of a service manager) the session says it too; sessions that the command begins do not."""
    if nice:
        os.nice(nice)
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(nice))


def _enter_namespace(uid: int, gid: int) -> None:
    """Into a user namespace in which our own uid is called `uid`. Files keep their owner, outside and on disk."""
    our_uid, our_gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        sys.exit(f"user namespaces are refused here: {os.strerror(ctypes.get_errno())}")
    Path("/proc/self/setgroups").write_text("deny")  # the kernel's condition for the gid map
    Path("/proc/self/uid_map").write_text(f"{uid} {our_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {our_gid} 1")


if __name__ == "__main__":
    _become()
