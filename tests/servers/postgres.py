"""A PostgreSQL server for the tests: its own folder, its own port on 127.0.0.1, gone with the tests.

Owns the life of its process, which can be killed and started again. It never syncs: no test of it cuts the power.
"""

import contextlib
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Self

import pytest

from servers.base import Account, UnavailableError

FIRST_PORT = 10_000
"""Below are those of services that a machine may have."""


class PostgresServer:
    """A server, running between ``with`` and its end."""

    def __init__(self) -> None:
        """Look for its programs. Raises `UnavailableError` where the machine has none."""
        if importlib.util.find_spec("psycopg") is None:
            raise UnavailableError("psycopg not installed")
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not found:
            raise UnavailableError("postgresql not installed")
        self._programs = found[-1].parent
        self._account = Account.unprivileged()
        self._numbers = count()

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="pop3fast-postgres-"))
        os.chown(self._folder, self._account.uid, self._account.gid)
        self._run("initdb", "-D", str(self._folder / "data"), "-A", "trust", "-U", "tests", "-N", "-E", "UTF8")
        self.port = _quiet_port()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGINT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server, and wait until it accepts a connection."""
        data = self._folder / "data"
        (data / "postmaster.pid").unlink(missing_ok=True)
        options = ["-o", f"-p {self.port} -h 127.0.0.1 -k {self._folder} -F"]
        self._run("pg_ctl", "-D", str(data), "-w", "-l", str(self._folder / "log"), *options, "start")

    def stop(self, how: signal.Signals) -> None:
        """End it with a signal: SIGINT cuts all connections, SIGQUIT is as a crash."""
        modes = {signal.SIGINT: "fast", signal.SIGQUIT: "immediate"}
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", "-m", modes[how], "stop")

    def processor_seconds(self) -> float:
        """Return what all its processes have used of the processors, those that have ended as well."""
        (first, *_) = (self._folder / "data" / "postmaster.pid").read_text().split()
        used = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                # Behind the name: the parent is the second, and the four times begin with the twelfth.
                fields = path.read_text().rpartition(")")[2].split()
                if path.parent.name == first:
                    used += sum(map(int, fields[11:15]))
                elif fields[1] == first:
                    used += sum(map(int, fields[11:13]))
        return used / os.sysconf("SC_CLK_TCK")

    def database(self) -> str:
        """Return the URL of a new database, with nothing in it; the last but one is gone.

        Each has a thousand files, which would take long to remove all together at the end.
        """
        number = next(self._numbers)
        if number > 1:
            self._execute(f"DROP DATABASE t{number - 2} WITH (FORCE)")
        name = f"t{number}"
        self._execute(f"CREATE DATABASE {name}")
        return f"{self._url}/{name}"

    def cut_all(self) -> None:
        """End every other connection."""
        self._execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )

    def _execute(self, statement: str) -> None:
        import psycopg  # noqa: PLC0415 - the tests run without it

        with psycopg.connect(f"{self._url}/postgres", autocommit=True) as connection:
            connection.execute(statement)

    @property
    def _url(self) -> str:
        return f"postgresql://tests@127.0.0.1:{self.port}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        root = os.geteuid() == 0
        ran = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            cwd=self._folder,
            env={"LC_ALL": "C", "PATH": os.defpath},
            timeout=50,
            user=self._account.uid if root else None,
            group=self._account.gid if root else None,
            extra_groups=[] if root else None,
        )
        assert ran.returncode == 0, ran.stdout.decode(errors="replace")


def _quiet_port() -> int:
    """Return a free port that the system gives to nobody who asks for any: the server wants it again after each end."""
    first, last = FIRST_PORT, 2 * FIRST_PORT
    with contextlib.suppress(OSError):
        # Below the ports of outgoing connections, which other tests make all the time.
        last = max(last, int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0]))
    while True:
        port = random.randrange(first, last)  # noqa: S311 - no secret
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Give a server, or skip the test with the reason."""
    try:
        server = PostgresServer()
    except UnavailableError as error:
        pytest.skip(str(error))
    with server:
        yield server
