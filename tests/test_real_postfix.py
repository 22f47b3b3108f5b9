"""Mail goes by LMTP to what Postfix has for it: smtp-sink, which stands for a server in Postfix's own tests.

Postfix itself takes no mail by LMTP; it only sends by it. The program lies where `make bench-servers` has unpacked it.
"""

import getpass
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from benches import field

from maildrops import account_of, mail
from pop3fast.fetch import FetchReport, Job, Options
from pop3fast.fetch._retrying import run_job
from pop3fast.testing import MailboxServer

START_SECONDS = 30.0
"""It answers in a moment; so long is broken, not busy."""

LACKS_A_LIBRARY = 127
"""The exit status of a program that cannot be begun: unpacked, it does not bring what it needs of other packages."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@contextmanager
def sink(*arguments: str) -> Iterator[Path]:
    """Run it; yield its folder, in which ``socket`` is what it listens on, and ``kept`` what it gets."""
    program = field.found("usr/sbin/smtp-sink")
    if program is None:
        pytest.skip(field.not_there("smtp-sink"))
    environment = os.environ | {"LD_LIBRARY_PATH": str(program.parents[1] / "lib" / "postfix")}
    # Without arguments it says how it is called.
    tried = subprocess.run([program], env=environment, capture_output=True, text=True, check=False)
    if tried.returncode == LACKS_A_LIBRARY:
        pytest.skip(tried.stderr.strip())
    # Its name is short, as that of a socket has to be, and who is not root may write there.
    with tempfile.TemporaryDirectory(prefix="pop3fast-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o777)
        user = "nobody" if os.geteuid() == 0 else getpass.getuser()
        command: list[str | Path] = [program, "-L", "-u", user, "-D", "kept", *arguments, f"unix:{folder}/socket", "10"]
        with subprocess.Popen(command, cwd=folder, env=environment) as process:
            try:
                _wait_for(folder / "socket")
                yield folder
            finally:
                process.terminate()


def _wait_for(path: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(str(path))
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)
            else:
                return


def fetch(server: MailboxServer, folder: Path, *recipients: str) -> FetchReport:
    return run_job(Job(account_of(server), f"lmtp:{folder}/socket", None, Options(delete=True), recipients))


@pytest.mark.parametrize("arguments", [(), ("-p",), ("-8",), ("-p", "-8", "-E")])
def test_all_arrives_once_with_a_reply_for_each_recipient_and_is_deleted_only_then(arguments: tuple[str, ...]) -> None:
    messages = [*(mail(number) for number in range(20)), b"From: a@example.org\r\n\r\n.\r\n..\r\n.x\r\ncaf\xe9\r\n"]
    with sink(*arguments) as folder, MailboxServer(messages) as server:
        report = fetch(server, folder, "a@example.org", "b@example.org")
        assert (report.fetched, report.deleted, report.failures, report.error) == (21, 21, [], None)
        assert fetch(server, folder, "a@example.org", "b@example.org").fetched == 0
        kept = (folder / "kept").read_bytes()
    assert kept.count(b"X-Rcpt-Args: <b@example.org>") == len(messages)
    assert all(message.replace(b"\r\n", b"\n") in kept for message in messages)


@pytest.mark.parametrize("command", ["LHLO", "MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize(("how", "refused"), [("-f", True), ("-r", False), ("-q", False), ("-Q", False)])
def test_whatever_it_refuses_or_ends_stays_on_the_server_and_is_said(command: str, how: str, *, refused: bool) -> None:
    with MailboxServer([mail(1), mail(2)]) as server:
        with sink(how, command) as folder:
            report = fetch(server, folder, "a@example.org")
            assert (report.fetched, report.deleted, server.remaining) == (0, 0, [1, 2])
            if command == "LHLO":
                assert (report.error is not None, report.exit_status) == (True, 5)
                return
            again = fetch(server, folder, "a@example.org")
            assert len(again.refused) == (2 if refused else 0)
            assert len(report.failures) == 2 or report.error is not None
