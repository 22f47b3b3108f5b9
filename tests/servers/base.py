"""What every real server has in common: a folder, a user, two ports, mailboxes, one process, and its end.

Owns the life of the server's process and of the folder it works in.  It must never know a server's configuration
language; that is its subclass's.  It must never run a server as root: mail readers parse what strangers wrote.
"""

import contextlib
import grp
import os
import poplib
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import pytest

from servers.certificates import Certificate, make_certificate

#: Debian puts daemons where only root's PATH leads.
_PROGRAM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])

#: Dovecot and Mailutils answer within 0.1 s of their start on an idle machine; 300 times that is broken, not busy.
START_SECONDS = 30.0

#: A server that has not ended this long after SIGTERM is ended with SIGKILL.
STOP_SECONDS = 5.0

#: A free port can be taken by somebody else between its choice and the server's bind; thrice in a row is no accident.
START_TRIES = 3


class UnavailableError(Exception):
    """This server cannot run on this machine; the text is the reason, fit for a skip message."""


def require(server: type["RealServer"]) -> None:
    """Skip the calling test, with the reason, when `server` cannot run here; fail it where CI=true is set."""
    try:
        server.check()
    except UnavailableError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{error}, and in CI a missing server is a failure", pytrace=False)
        pytest.skip(str(error))


def find_program(name: str, package: str) -> str:
    """Give the path of a program; raises UnavailableError, "`package` not installed", when the machine has none."""
    found = shutil.which(name, path=_PROGRAM_PATH)
    if found is None:
        raise UnavailableError(f"{package} not installed")
    return found


@dataclass(frozen=True)
class Account:
    """The machine's user that a server runs as and that owns its files."""

    user: str
    uid: int
    group: str
    gid: int

    @classmethod
    def unprivileged(cls, group: str | None = None) -> Self:
        """Give nobody when the tests run as root (in `group`, if one is named), and whoever runs them otherwise."""
        try:
            person = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
            team = grp.getgrgid(person.pw_gid) if group is None else grp.getgrnam(group)
        except KeyError as error:
            raise UnavailableError(f"this machine has no name for the user or group to run as: {error}") from error
        return cls(user=person.pw_name, uid=person.pw_uid, group=team.gr_name, gid=team.gr_gid)

    def take(self, *paths: Path) -> None:
        """Make this account the owner of `paths`; nothing to do where the tests already run as it."""
        if os.geteuid() == 0:
            for path in paths:
                os.chown(path, self.uid, self.gid)


@dataclass(frozen=True)
class Mailbox:
    """One maildrop: how to log in to it, and the Maildir behind it."""

    user: str
    password: str = field(repr=False)
    maildir: Path
    owner: Account

    def fill(self, messages: Iterable[bytes]) -> None:
        """Put exactly these messages in the maildrop, in this order, whatever was in it before.

        The content is stored as it is; a server turns LF into CRLF on the way out.  No session may be open: a server
        that has listed the old messages would go on serving them.
        """
        shutil.rmtree(self.maildir, ignore_errors=True)
        folders = [self.maildir, *(self.maildir / name for name in ("tmp", "cur", "new"))]
        for folder in folders:
            folder.mkdir(mode=0o700)
        self.owner.take(*folders)
        for number, content in enumerate(messages, start=1):
            # One second apart: the time that begins the name is what servers order new mail by.
            path = self.maildir / "new" / f"{1_000_000_000 + number}.M0P{number}.localhost"
            path.write_bytes(content)
            self.owner.take(path)

    def contents(self) -> list[bytes]:
        """Read what the Maildir holds now, in the order of the file names: what a server has committed to disk."""
        paths = [path for name in ("cur", "new") for path in (self.maildir / name).iterdir()]
        return [path.read_bytes() for path in sorted(paths, key=lambda path: path.name)]


class RealServer(ABC):
    """A POP3 server in the foreground, as a context manager: running inside the block, gone without a trace after it.

    `plain_port` speaks cleartext and offers STLS; `tls_port` is TLS from the first octet.  `mailbox` is a maildrop
    that always exists and begins empty; `add_mailbox` makes more at any time while the server runs.
    """

    #: What the tests call it; also the word that a skip message begins with.
    name: ClassVar[str]

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.check()
        self.account = self.choose_account()
        self.plain_port, self.tls_port = 0, 0
        self.folder: Path
        self.certificate: Certificate
        self.mailbox: Mailbox
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @abstractmethod
    def check(cls) -> None:
        """Raise UnavailableError with the reason when this server cannot run on this machine."""

    @abstractmethod
    def choose_account(self) -> Account:
        """Give the unprivileged account that the server is to run as."""

    @abstractmethod
    def configure(self) -> list[str]:
        """Write the configuration into `folder` for the present ports; give the command that runs in the foreground."""

    @abstractmethod
    def admit(self, user: str, password: str) -> None:
        """Let a new user log in; the server must know at once, also when it is running."""

    def login_name(self, user: str) -> str:
        """Give what `user` sends as its USER."""
        return user

    def add_mailbox(self, user: str, messages: Iterable[bytes] = (), *, password: str = "correct horse") -> Mailbox:  # noqa: S107 -- a password for mail that a test made up
        """Make a maildrop for a new user, filled with `messages`; raises ValueError when the user exists."""
        home = self.home(user)
        if home.exists():
            raise ValueError(f"{self.name} already has a mailbox of {user!r}")
        home.mkdir(mode=0o700)
        self.account.take(home)
        mailbox = Mailbox(self.login_name(user), password, home / "INBOX", self.account)
        mailbox.fill(messages)
        self.admit(user, password)
        return mailbox

    def home(self, user: str) -> Path:
        """Give the folder that holds the Maildir INBOX of `user`."""
        return self.folder / "homes" / user

    def settle(self, mailbox: Mailbox) -> None:
        """Hold the first session with a freshly filled mailbox, so that what it changes is changed.

        Servers give out unique-ids and move files in it; one of them rewrites the messages.
        """
        client = poplib.POP3(self.host, self.plain_port, timeout=30)
        try:
            client.user(mailbox.user)
            client.pass_(mailbox.password)
            client.uidl()
            client.quit()
        finally:
            client.close()

    def client_context(self) -> ssl.SSLContext:
        """Give a context for clients that verifies this server's certificate and host name."""
        return self.certificate.client_context()

    def log(self) -> str:
        """Give everything that the server has logged so far."""
        path = self.folder / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def __enter__(self) -> Self:
        """Make folder, certificate and first mailbox, and start; raises RuntimeError with the log if that fails."""
        # Not pytest's temporary folder: that one is closed to every other user, the server's included, and its path
        # is long where a Unix socket's may have 108 octets.
        self.folder = Path(tempfile.mkdtemp(prefix="pop3fast-"))
        try:
            self.folder.chmod(0o711)
            (self.folder / "homes").mkdir(mode=0o711)
            self.certificate = make_certificate(find_program("openssl", "openssl"), self.folder)
            self.account.take(self.folder, self.folder / "homes", self.certificate.key, self.certificate.certificate)
            self.mailbox = self.add_mailbox("reader")
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the server and remove its folder."""
        self._end()

    def _start(self) -> None:
        for _ in range(START_TRIES):
            self.plain_port, self.tls_port = _free_ports()
            command = self.configure()
            # Should this process be killed, the kernel ends the server too; the same when the thread that is here ends.
            if (setpriv := shutil.which("setpriv", path=_PROGRAM_PATH)) is not None:
                command = [setpriv, "--pdeathsig", "TERM", *command]
            self._process = self._run(command)
            if self._answers(self._process):
                return
            self._stop()
            if "already in use" not in self.log():
                break
        raise RuntimeError(f"{self.name} did not start:\n{self.log()}")

    def _run(self, command: list[str]) -> subprocess.Popen[bytes]:
        log = self.folder / "log"
        log.touch(mode=0o600)
        self.account.take(log)
        as_root = os.geteuid() == 0
        with log.open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env={"PATH": _PROGRAM_PATH, "LC_ALL": "C", "HOME": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=self.account.uid if as_root else None,
                group=self.account.gid if as_root else None,
                extra_groups=[] if as_root else None,
                # A group of its own: an interrupt at the terminal is for the tests, and `_stop` can reach all of it.
                start_new_session=True,
            )

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait for a greeting; False when the process ends or the time is over."""
        give_up = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < give_up:
            try:
                # A port that accepts is not enough: Dovecot listens before it can serve, and hangs if told to end then.
                with socket.create_connection((self.host, self.plain_port), timeout=START_SECONDS) as probe:
                    if probe.recv(1) == b"+":
                        return True
            except OSError:
                time.sleep(0.01)
        return False

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        # Also when the server has ended: a process that it forked for a session may still be there.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _end(self) -> None:
        self._stop()
        with contextlib.suppress(OSError):
            shutil.rmtree(self.folder)
            return
        # A session's process, dead by now, has put a file into a folder that was being emptied.
        time.sleep(0.1)
        shutil.rmtree(self.folder)


def _free_ports() -> tuple[int, int]:
    """Give two different loopback ports that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        return first.getsockname()[1], second.getsockname()[1]
