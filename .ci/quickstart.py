"""What the README and the quick starts ask a newcomer to type, typed where only the wheel is; see `newcomer`.

mail.example.org is a server on this machine, whose certificate SSL_CERT_FILE names. Nothing of a test's tools is here:
each block of Python is a process of its own, each command goes through a shell, and a password that is asked for is
typed at a terminal.
"""

import os
import pty
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

from pop3fast.testing import MailboxServer

HOME = Path.home()
MESSAGES = [
    f"From: {name}@example.org\r\nSubject: from {name}\r\n\r\nText.\r\n".encode() for name in ("ada", "bob", "cyd")
]
# Programs of others that the pages call: where passwords and tokens are kept, and what takes mail.
PROGRAMS = {"pass": "echo password", "oauth2-token": "echo token", "procmail": "exec cat >/dev/null"}


def main() -> None:
    """Type all of it, and stop at what fails."""
    for name, does in PROGRAMS.items():
        program = Path(os.environ["VIRTUAL_ENV"], "bin", name)
        program.write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
        program.chmod(0o755)
    with subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()  # it listens
        try:
            for page in ("README.md", "quickstart.md"):
                text = (HOME / page).read_text("utf-8")
                for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
                    type_block(language, block)
        finally:
            server.kill()
    assert len(list((HOME / "archive").glob("*.eml"))) == len(MESSAGES)
    assert len(list((HOME / "Mail/new").iterdir())) == len(MESSAGES)


def type_block(language: str, block: str) -> None:
    """Type one block: a program, commands, a configuration with its crontab. What wants more servers is "text"."""
    if language == "python":
        shown("python", [sys.executable, "-W", "error", "-c", block])
    elif language == "toml":
        path = HOME / ".config/pop3fast/config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block, encoding="utf-8")
        path.chmod(0o600)
    elif language != "text":
        for line in block.splitlines():
            command = re.sub(r"^(\S+ ){5} ?(?=pop3fast )", "", line)  # a crontab's five fields
            if command.startswith("pop3fast "):
                shown("command", ["sh", "-c", command])


def shown(kind: str, command: list[str]) -> None:
    """Run *command* at a terminal, where a password is typed when it is asked for, and end with it when it fails."""
    print(f"  {kind}: {command[-1].strip().splitlines()[0]}", flush=True)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(HOME)
        os.execvp(command[0], command)  # noqa: S606 - as a shell would
    said = b""
    while octets := read(terminal):
        said += octets
        if b"assword" in octets:
            os.write(terminal, b"password\n")
    if status := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        sys.exit(f"{said.decode(errors='replace')}\nquickstart: exit status {status}: {command[-1]}")


def read(terminal: int) -> bytes:
    """Return what comes next on the *terminal*, or nothing at its end, which Linux reports as an error."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def serve() -> None:
    """Be mail.example.org."""
    with MailboxServer(MESSAGES, tls=True, token="token", certificate=HOME / "server.pem") as server:
        listener = socket.create_server(("127.0.0.1", 995))
        print("listening", flush=True)
        while True:
            client, _ = listener.accept()
            there = socket.create_connection(server.address)
            for pair in ((client, there), (there, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()


def pump(source: socket.socket, target: socket.socket) -> None:
    """Hand on what *source* says, until it says no more."""
    try:
        while octets := source.recv(1 << 16):
            target.sendall(octets)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # the other side has gone
        source.close()


if sys.argv[1:] == ["serve"]:
    serve()
else:
    main()
