"""Real servers for the tests, each in a folder of its own and killed afterwards; skipped where none is installed."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

PASSWORD = "s3cr&t/pw"
"""Of the databases: with characters that an address must escape."""

PASSWORD_ESCAPED = quote(PASSWORD, safe="")

PATIENCE = 60
"""Seconds that a server may take to come up."""


@dataclass
class Server:
    """A running server.

    Attributes:
        kind: postgresql or mysql.
        port: On 127.0.0.1.
        process: Its first process.
        run: Runs SQL as its owner and returns what its own client prints.
    """

    kind: str
    port: int
    process: subprocess.Popen[bytes]
    run: Callable[[str], str]

    def stop(self) -> None:
        """Kill it, with its children, as a machine that loses power would."""
        _kill(self.process)


def address(
    server: Server, *, user: str = "reader", password: str = PASSWORD_ESCAPED, port: int = 0, database: str = ""
) -> str:
    """Return the address of a server's database, by which it may be read; each part can be made a wrong one."""
    database = database or {"postgresql": "postgres", "mysql": "crm"}[server.kind]
    return f"{server.kind}://{user}:{password}@127.0.0.1:{port or server.port}/{database}"


def find_program(name: str) -> str:
    """Return the path of a server's program; Debian keeps PostgreSQL's out of the path."""
    versions = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))  # noqa: PTH207
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin") or (versions or [None])[-1]
    if found is None:
        pytest.skip(f"the program {name} is not installed (Debian: apt-get install postgresql mariadb-server)")
    return found


@contextmanager
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server with the user ``reader``, who needs the password, and its owner ``owner``."""
    initdb, postgres, psql = map(find_program, ("initdb", "postgres", "psql"))
    with _folder() as (folder, as_user):
        (folder / "password").write_text(PASSWORD)
        data = folder / "data"
        words = ["-U", "owner", "--auth-host=scram-sha-256", "--auth-local=trust", f"--pwfile={folder / 'password'}"]
        _quietly([initdb, "-D", str(data), "--no-sync", "-E", "UTF8", "--locale=C", *words], as_user)
        port = free_port()
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "fsync": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

        def run(sql: str) -> str:
            client = [psql, "-h", str(folder), "-p", str(port), "-U", "owner", "-d", "postgres", "-qAtc", sql]
            return _quietly(client, as_user)

        with _process([postgres, "-D", str(data), *options], as_user, folder) as process:
            server = Server("postgresql", port, process, run)
            _wait(server)
            run(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'; GRANT pg_read_all_data TO reader")
            yield server


@contextmanager
def mariadb() -> Iterator[Server]:
    """A MariaDB server with the user ``reader``, who needs the password; ``run`` is its root."""
    install, mariadbd, client = map(find_program, ("mariadb-install-db", "mariadbd", "mariadb"))
    with _folder() as (folder, as_user):
        data, socket_file, port = folder / "data", folder / "socket", free_port()
        user = [f"--user={as_user}"] if as_user else []
        plain = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        _quietly([install, "--no-defaults", f"--datadir={data}", *plain, *user], as_user)
        options = [
            "--no-defaults", f"--datadir={data}", f"--socket={socket_file}", f"--port={port}",
            "--bind-address=127.0.0.1", f"--pid-file={folder / 'pid'}", "--skip-log-bin", *user,
        ]  # fmt: skip

        def run(sql: str) -> str:
            words = [f"--socket={socket_file}", "-u", "root", "-N", "-B", "-e", sql]
            return _quietly([client, "--no-defaults", *words], as_user)

        with _process([mariadbd, *options], as_user, folder) as process:
            server = Server("mysql", port, process, run)
            _wait(server)
            run(
                f"CREATE DATABASE crm; CREATE USER reader@'%' IDENTIFIED BY '{PASSWORD}'; "
                "GRANT SELECT, INSERT ON crm.* TO reader@'%'"
            )
            yield server


@contextmanager
def object_store() -> Iterator[str]:
    """An S3 server; yields its address. It checks keys once ``0`` is posted as text to ``/moto-api/reset-auth``."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _folder() as (folder, _), _process(command, None, folder) as process:
        _wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}"


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


@contextmanager
def _folder() -> Iterator[tuple[Path, str | None]]:
    """A short-named folder for a server's files, and the user to run it as: databases refuse to be root."""
    folder = Path(tempfile.mkdtemp(prefix="churnlib-"))
    as_user = "nobody" if os.geteuid() == 0 else None
    if as_user is not None:
        os.chown(folder, pwd.getpwnam(as_user).pw_uid, -1)
    try:
        yield folder, as_user
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _process(command: list[str], as_user: str | None, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=as_user, cwd="/", start_new_session=True
        )
    try:
        yield process
    finally:
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a server and all below it: a PostgreSQL connection lives in a process group of its own, and outlives it."""
    if process.poll() is None:
        for pid in [*_descendants(process.pid), process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def _descendants(pid: int) -> list[int]:
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listing.splitlines()]
    children = [child for child, parent in pairs if parent == pid]
    return [one for child in children for one in [*_descendants(child), child]]


def _quietly(command: list[str], as_user: str | None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, user=as_user, cwd="/", check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stdout}{done.stderr}")
    return done.stdout


def _wait(server: Server) -> None:
    """Wait until a database answers: its port is open a moment before."""
    _wait_for_port(server.port, server.process)
    for _ in range(PATIENCE * 10):
        try:
            server.run("SELECT 1")
        except RuntimeError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"{server.kind} does not answer")


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(PATIENCE * 20):
        if process.poll() is not None:
            pytest.fail("the server has ended at once")
        with socket.socket() as opened:
            if opened.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("the server does not listen")
