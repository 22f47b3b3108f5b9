"""``python -m benches.unmodified [--quick] [--write]``: programs that know nothing of pop3fast, and a far Dovecot.

Owns how each is run as it is, with poplib and with pop3fast in its place. Whoever runs it says so from outside: by a
``sitecustomize`` that calls `install_as_poplib`, and by $POP3FAST_READ_AHEAD. Each is run far from the server and close
to it, which shows what of its time it waits for the network. A program that is not there has no row (getmail6 is one of
Debian's packages, django-mailbox one of PyPI's). No time makes it fail. To be run from the root of the checkout.
"""

import argparse
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pop3fast
from benches.contestants import Maildrop, getmail
from benches.delay import delayed
from benches.dovecot import need_dovecot
from benches.mail import attachment
from benches.pages import put_between_marks, refuse_to_write_quickly

DOCS = Path(__file__).parent.parent / "docs" / "performance.md"
MARKS = (
    "<!-- unmodified: what follows is written by `python -m benches.unmodified --write` -->\n",
    "<!-- unmodified: end -->\n",
)
ROUND_TRIP = 0.04
MESSAGES = 200
OCTETS = 4_000
VARIABLE = "POP3FAST_READ_AHEAD"
READ_AHEAD = 100
LONGEST_RUN = 60.0
"""Whoever is not there by then, in seconds, has no row: three times what the slowest takes."""

INSTALL = "import pop3fast\npop3fast.install_as_poplib()\n"
"""What stands in ``sitecustomize.py``."""

LOOP = """
import poplib, sys, time
host, port, user, password = sys.argv[1:]
pop = poplib.POP3(host, int(port))
pop.user(user)
pop.pass_(password)
began = time.perf_counter()
count = sum(1 for number in range(1, len(pop.list()[1]) + 1) if pop.retr(number))
print(time.perf_counter() - began, count)
pop.quit()
"""

DJANGO = """
import sys
from urllib.parse import quote
import django
from django.conf import settings
host, port, user, password, keeps = sys.argv[1:]
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    INSTALLED_APPS=["django_mailbox"],
    USE_TZ=True,
)
django.setup()
from django.core.management import call_command
from django_mailbox.models import Mailbox
call_command("migrate", verbosity=0)
box = Mailbox.objects.create(name="box", uri=f"pop3://{quote(user)}:{quote(password)}@{host}:{port}")
looked_at = []
took = sum(1 for _ in box.get_new_mail(condition=lambda mail: looked_at.append(mail) or keeps != "keeps"))
print(len(looked_at))
"""


@dataclass(frozen=True)
class Unmodified:
    """A program, and what starts it. It says how many messages it saw, or delivers them."""

    name: str
    missing: bool
    command: Callable[[Maildrop], list[str]]
    delivers: bool = False
    says_seconds: bool = False
    """Whether it says, before how many messages it saw, what the part took that counts."""


def _python(code: str, *more: str) -> Callable[[Maildrop], list[str]]:
    return lambda drop: [sys.executable, "-c", code, drop.host, str(drop.port), drop.user, drop.password, *more]


_NO_DJANGO = importlib.util.find_spec("django_mailbox") is None
PROGRAMS = (
    Unmodified("a loop over `retr()`", missing=False, command=_python(LOOP), says_seconds=True),
    Unmodified("the same, with all before and behind it", missing=False, command=_python(LOOP)),
    Unmodified("django-mailbox, which looks for one message", _NO_DJANGO, _python(DJANGO, "keeps")),
    Unmodified("django-mailbox, which deletes each message", _NO_DJANGO, _python(DJANGO, "deletes")),
    Unmodified(
        "getmail6",
        shutil.which("getmail") is None,
        lambda drop: getmail(drop, f"type = Maildir\npath = {drop.folder}/"),
        delivers=True,
    ),
)


@dataclass(frozen=True)
class Row:
    """What a program took, in seconds: far and close, with poplib and with pop3fast."""

    far: float
    close: float
    far_ahead: float
    close_ahead: float

    @property
    def waits(self) -> float:
        """What share is left of its wait for the network."""
        return max(0.0, self.far_ahead - self.close_ahead) / max(0.001, self.far - self.close)


def main() -> None:
    """Measure, print, and write when asked to."""
    parser = argparse.ArgumentParser(prog="python -m benches.unmodified")
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--write", action="store_true", help="put the table between the two marks in the documentation")
    arguments = parser.parse_args()
    refuse_to_write_quickly(parser, arguments)
    need_dovecot()
    messages = 10 if arguments.quick else MESSAGES
    title = f"{messages} x {OCTETS // 1000} KB, {ROUND_TRIP * 1000:.0f} ms, the program as it is"
    columns = ["poplib", f"pop3fast, ${VARIABLE}={READ_AHEAD}", "speed", "left of the wait for the network"]
    lines = [f"| {' | '.join([title, *columns])} |", "|---|---:|---:|---:|---:|"]
    for program in PROGRAMS:
        if program.missing:
            continue
        try:
            row = _measure(program, messages)
        except subprocess.TimeoutExpired as error:
            if not program.delivers:
                raise
            # getmail6 waits for minutes for a child that has ended before it listens for that, whatever it imports.
            print(f"{program.name}: {error}", file=sys.stderr)
        else:
            speed = f"{row.far / row.far_ahead:.1f} x"
            lines.append(f"| {program.name} | {row.far:.1f} s | {row.far_ahead:.1f} s | {speed} | {row.waits:.0%} |")
            print(lines[-1], flush=True)
    text = "\n".join([*lines, ""])
    if arguments.write:
        put_between_marks(DOCS, text, MARKS)


def _measure(program: Unmodified, messages: int) -> Row:
    return Row(
        far=_seconds(program, messages, ROUND_TRIP, ahead=False),
        close=_seconds(program, messages, 0.0, ahead=False),
        far_ahead=_seconds(program, messages, ROUND_TRIP, ahead=True),
        close_ahead=_seconds(program, messages, 0.0, ahead=True),
    )


def _seconds(program: Unmodified, messages: int, round_trip: float, *, ahead: bool) -> float:
    """Run *program* once, with pop3fast in the place of poplib or without; return what it took."""
    with _maildrop(messages, round_trip) as drop:
        environment = {"HOME": str(drop.home), "PATH": os.environ["PATH"]}
        if ahead:
            (drop.home / "sitecustomize.py").write_text(INSTALL, encoding="ascii")
            path = os.pathsep.join([str(drop.home), str(Path(pop3fast.__file__).parent.parent)])
            environment |= {"PYTHONPATH": path, VARIABLE: str(READ_AHEAD)}
        command = program.command(drop)
        # What delivers does so as nobody: it refuses to be root.
        user = "nobody" if program.delivers and os.geteuid() == 0 else None
        if user is not None:
            _give(drop.home, user)
        began = time.perf_counter()
        done = subprocess.run(
            command,
            cwd=drop.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment,
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
            timeout=LONGEST_RUN,
            check=False,
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(f"{program.name} ended with {done.returncode}: {done.stderr[-500:]}")
        saw = sum(1 for _ in (drop.folder / "new").iterdir()) if program.delivers else int(done.stdout.split()[-1])
        if saw != messages:
            raise SystemExit(f"{program.name} saw {saw} of {messages} messages")
        return float(done.stdout.split()[-2]) if program.says_seconds else seconds


@contextmanager
def _maildrop(messages: int, round_trip: float) -> Iterator[Maildrop]:
    """Give a maildrop of so many messages on a Dovecot of its own, which is that far away."""
    from servers import DovecotServer  # noqa: PLC0415 - see main()

    content = attachment(OCTETS, 1).replace(b"\r\n", b"\n")
    with DovecotServer() as server, tempfile.TemporaryDirectory() as folder:
        server.mailbox.fill([content] * messages)
        server.settle(server.mailbox)
        with delayed(server.plain_port, round_trip) as port:
            home = Path(folder)
            drop = Maildrop(server.host, port, server.mailbox.user, server.mailbox.password, home)
            drop.make_folder()
            home.chmod(0o755)
            yield drop


def _give(folder: Path, user: str) -> None:
    """Let *user* own what is in *folder*."""
    entry = pwd.getpwnam(user)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, entry.pw_uid, entry.pw_gid)


if __name__ == "__main__":
    main()
