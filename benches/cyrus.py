"""Cyrus as Debian has it: a server that writes a reply in pieces and leaves Nagle's algorithm on.

Owns its configuration and its mail, in a folder that is gone afterwards; nothing of the machine's. It is filled over
IMAP, for its files are its own.
"""

import getpass
import grp
import imaplib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benches import field, ports

_MASTER = "usr/lib/cyrus/bin/master"

# It does nothing as root: where this runs as root, it is run as this user.
_INSTEAD_OF_ROOT, _HIS_GROUP = "nobody", "nogroup"

# It writes to the disk, and waits for it, after each message that is retrieved: 4 ms, which hide everybody's speed.
_IN_MEMORY = Path("/dev/shm")

_ADMINISTRATOR = "cyrus"

_SETTINGS = """\
configdirectory: {folder}/config
partition-default: {folder}/spool
cyrus_user: {user}
cyrus_group: {group}
admins: {administrator}
allowplaintext: yes
sasl_pwcheck_method: alwaystrue
sasl_mech_list: PLAIN
servername: localhost
"""

_SERVICES = """\
START {{
}}
SERVICES {{
  imap cmd="{programs}/imapd -C {settings}" listen="127.0.0.1:{imap}" proto="tcp4"
  pop3 cmd="{programs}/pop3d -C {settings}" listen="127.0.0.1:{pop3}" proto="tcp4"
  lmtp cmd="{programs}/lmtpd -C {settings}" listen="{lmtp}"
}}
EVENTS {{
}}
"""


class Listening(NamedTuple):
    """Where it listens: two ports, and a socket's path."""

    imap: int
    pop3: int
    lmtp: str


class Cyrus:
    """Its master process, which starts one for each protocol when somebody connects."""

    def missing(self) -> str | None:
        master = field.found(_MASTER)
        programs = [master.parent / name for name in ("imapd", "pop3d", "lmtpd")] if master else []
        if master is None or not all(program.exists() for program in programs):
            return field.not_there("Cyrus")
        said = subprocess.run(
            ["ldd", *map(str, programs)], env=_environment(master), capture_output=True, text=True, check=False
        )
        if lacking := sorted({line.split()[0] for line in said.stdout.splitlines() if "not found" in line}):
            return f"Cyrus lacks {', '.join(lacking)}."
        if os.geteuid() == 0:
            looking = subprocess.run(
                ["test", "-x", str(programs[0])], user=_INSTEAD_OF_ROOT, group=_HIS_GROUP, check=False
            )
            if looking.returncode != 0:
                return f"Cyrus runs as {_INSTEAD_OF_ROOT} under root, who may not look into {master.parent}."
        return None

    @contextmanager
    def serve(self, messages: Sequence[bytes]) -> Iterator[int]:
        with self.running() as listening:
            _fill(listening.imap, messages)
            yield listening.pop3

    @contextmanager
    def running(self, more_settings: Callable[[Path], str] = lambda _: "") -> Iterator[Listening]:
        """Run it with an empty mailbox; *more_settings* are for its configuration, given the folder that it lies in."""
        master = field.found(_MASTER)
        assert master is not None
        with tempfile.TemporaryDirectory(dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None) as folder:
            listening = Listening(ports.free(), ports.free(), f"{folder}/config/socket/lmtp")
            settings, services = _configure(Path(folder), master.parent, listening, more_settings(Path(folder)))
            command: list[Path | str] = [
                master,
                "-D",
                "-C",
                settings,
                "-M",
                services,
                "-p",
                Path(folder, "config", "pid"),
            ]
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, env=_environment(master)) as server:
                try:
                    ports.wait_for(listening.imap)
                    with imaplib.IMAP4("127.0.0.1", listening.imap) as administrator:
                        administrator.login(_ADMINISTRATOR, field.PASSWORD)
                        administrator.create(f"user/{field.USER}")
                    yield listening
                finally:
                    server.terminate()


def _environment(master: Path) -> dict[str, str]:
    return {**os.environ, "LD_LIBRARY_PATH": field.libraries(master)}


def _configure(folder: Path, programs: Path, listening: Listening, more_settings: str) -> tuple[Path, Path]:
    """Write both files of its configuration, and give it the folders; return their paths."""
    user, group = _INSTEAD_OF_ROOT, _HIS_GROUP
    if os.geteuid() != 0:
        user, group = getpass.getuser(), grp.getgrgid(os.getegid()).gr_name
    settings, services = folder / "imapd.conf", folder / "cyrus.conf"
    text = _SETTINGS.format(folder=folder, user=user, group=group, administrator=_ADMINISTRATOR) + more_settings
    settings.write_text(text, encoding="utf-8")
    text = _SERVICES.format(programs=programs, settings=settings, **listening._asdict())
    services.write_text(text, encoding="utf-8")
    for name in ("spool", "config/db", "config/socket", "config/proc", "config/lock"):
        (folder / name).mkdir(parents=True)
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{user}:{group}", str(folder)], check=True)
    return settings, services


def _fill(port: int, messages: Sequence[bytes]) -> None:
    with imaplib.IMAP4("127.0.0.1", port) as reader:
        reader.login(field.USER, field.PASSWORD)
        for message in messages:
            reader.append("INBOX", "", "", message)
