"""The programs in `examples/` do what they say, as whole processes."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from maildrops import mail
from pop3fast.testing import MailboxServer

EXAMPLES = Path(__file__).parent.parent / "examples"
MAILBOXES = 50


@contextmanager
def running(program: str, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", EXAMPLES / program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def delivered(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in folder.glob("*/new/*"))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signal handlers of a loop")
def test_a_service_polls_many_mailboxes_again_and_again_and_delivers_each_message_once(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("password\n", encoding="utf-8")
    folder, settings = tmp_path / "Mail", tmp_path / "mailboxes.toml"
    folder.mkdir()
    messages = [mail(number) for number in range(1, 2 * MAILBOXES + 1)]
    with ExitStack() as stack:
        servers = [
            stack.enter_context(MailboxServer(messages[place : place + 2])) for place in range(0, 2 * MAILBOXES, 2)
        ]
        settings.write_text(
            "".join(
                f'[box{number}]\nurl = "pop3+plain://user@{server.host}:{server.port}"\npassword-file = "{password}"\n'
                for number, server in enumerate(servers)
            ),
            encoding="utf-8",
        )
        for rounds in (2, 3):  # the second time everything is there
            with running("poll_mailboxes.py", settings, folder, "--every", "0.1", "--at-once", "10") as process:
                while not all(server.commands.count(b"QUIT") >= rounds for server in servers):
                    assert process.poll() is None
                    time.sleep(0.01)
                process.send_signal(signal.SIGTERM)
                _, complaints = process.communicate()
            assert complaints == b""
            assert process.returncode == 0
            assert delivered(folder) == sorted(message.replace(b"\r\n", b"\n") for message in messages)
