"""What programs do in a handler: PostgreSQL, Django, a savepoint for each message as Odoo has it, an answer by mail.

Each has every message exactly once, by a unique column on its key, whenever it is killed.
"""

import contextlib
import random
import signal
import smtplib
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from email.message import EmailMessage
from pathlib import Path

import pytest

from fetching import in_child
from lmtp import LmtpServer
from maildrops import Maildrop, account_of, mail
from pop3fast.fetch import HandledMessage, process_mailbox, process_many
from pop3fast.testing import MailboxServer
from scripted import ScriptedServer
from servers.postgres import PostgresServer
from shapes import GREETING

MAILS = [(b"u%d" % number, mail(number)) for number in range(1, 13)]


def killed_at_random(work: Callable[[], object], chance: random.Random, most: float) -> bool:
    """Do *work* in a child that may be killed in the middle; return whether it was."""
    return in_child(work, killed_after=chance.uniform(0, most)) == -signal.SIGKILL


def in_postgres(url: str) -> Callable[[HandledMessage], None]:
    """Return a handler that writes tickets, each in a transaction of its own."""
    import psycopg  # noqa: PLC0415 - the fixture has looked for it

    def handle(message: HandledMessage) -> None:
        with psycopg.connect(url) as database:  # one transaction, committed at the end of the block
            done = database.execute(
                "INSERT INTO ticket VALUES (%s, %s) ON CONFLICT DO NOTHING", (message.key, message.content)
            )
            if done.rowcount:
                database.execute("UPDATE total SET tickets = tickets + 1")

    return handle


@pytest.mark.parametrize("state_there_too", [False, True])
def test_a_unique_column_in_postgresql_has_each_message_once_whenever_the_process_is_killed(
    postgres: PostgresServer, tmp_path: Path, *, state_there_too: bool
) -> None:
    import psycopg  # noqa: PLC0415 - the fixture has looked for it

    chance = random.Random("postgres")  # noqa: S311 - no secret; and the same next time
    url, drop = postgres.database(), Maildrop(*MAILS)
    state = postgres.database() if state_there_too else str(tmp_path / "state")
    with psycopg.connect(url) as database:
        database.execute("CREATE TABLE ticket (key text UNIQUE, content bytea)")
        database.execute("CREATE TABLE total AS SELECT 0 AS tickets")

    def process() -> None:
        process_mailbox(account_of(server), in_postgres(url), state=state, delete=True, attempts=50)

    with ScriptedServer(GREETING, drop) as server:
        if not state_there_too:
            # A worker that died holds its lease for a while, so then there is one only.
            for _ in range(12):
                killed_at_random(process, chance, 0.3)
        process()
    assert drop.messages == []
    with psycopg.connect(url) as database:
        contents = [bytes(content) for (content,) in database.execute("SELECT content FROM ticket")]
        assert database.execute("SELECT tickets FROM total").fetchone() == (12,)
    assert sorted(contents) == sorted(content for _, content in MAILS)


DJANGO = """
import sys
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()
from django.db import connection, models, transaction
from pop3fast.fetch import Account, process_mailbox


class Ticket(models.Model):
    key = models.CharField(max_length=40, unique=True)
    subject = models.TextField()

    class Meta:
        app_label = "tickets"


def handle(message):
    with transaction.atomic():
        Ticket.objects.get_or_create(key=message.key, defaults={"subject": str(message.email()["Subject"])})


if "ticket" not in str(connection.introspection.table_names()):
    with connection.schema_editor() as editor:
        editor.create_model(Ticket)
account = Account(sys.argv[2], user="user", password="password")
for _ in range(2):
    report = process_mailbox(account, handle, state=sys.argv[3], fetch_again=True)
    print(report.fetched, Ticket.objects.count(), report.error)
"""


def test_django_has_each_message_once(tmp_path: Path) -> None:
    pytest.importorskip("django")
    with MailboxServer([content for _, content in MAILS]) as server:
        url = f"pop3+plain://{server.host}:{server.port}"
        command = [sys.executable, "-c", DJANGO, str(tmp_path / "tickets"), url, str(tmp_path / "state")]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("12 12 None\n12 12 None\n", "")


def test_a_savepoint_for_each_message_and_one_that_fails_takes_nothing_of_the_others_away(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "erp", isolation_level=None)
    database.execute("CREATE TABLE lead (key TEXT UNIQUE, subject TEXT)")

    def handle(message: HandledMessage) -> None:
        database.execute("BEGIN")
        try:
            database.execute("SAVEPOINT message")
            try:
                database.execute(
                    "INSERT OR IGNORE INTO lead VALUES (?, ?)", (message.key, str(message.email()["Subject"]))
                )
                if message.content == mail(3):
                    raise ValueError("no such alias")  # noqa: TRY301 - as a program does
            except ValueError:
                database.execute("ROLLBACK TO message")
                raise
        finally:
            database.execute("COMMIT")  # before the message counts as done

    with MailboxServer([content for _, content in MAILS]) as server:
        report = process_mailbox(account_of(server), handle, state=str(tmp_path / "state"), delete=True)
        assert (report.fetched, report.deleted, len(report.failures)) == (11, 11, 1)
        assert server.remaining == [3]
    assert database.execute("SELECT count(*) FROM lead WHERE subject <> '3'").fetchone() == (11,)
    database.close()


def test_who_wrote_gets_one_answer_and_then_the_message_is_deleted(tmp_path: Path) -> None:
    drop, chance = Maildrop(*MAILS), random.Random("answers")  # noqa: S311 - no secret; and the same next time
    path = tmp_path / "answers"
    with contextlib.closing(sqlite3.connect(path)) as answers, answers:
        answers.execute("CREATE TABLE answer (key TEXT UNIQUE, sent INTEGER)")
    with ScriptedServer(GREETING, drop) as server, LmtpServer() as outgoing:
        host, _, port = outgoing.where.partition(":")

        def handle(message: HandledMessage) -> None:
            with contextlib.closing(sqlite3.connect(path, timeout=30)) as answers:
                with answers:
                    answers.execute("INSERT OR IGNORE INTO answer VALUES (?, 0)", (message.key,))
                if answers.execute("SELECT sent FROM answer WHERE key = ?", (message.key,)).fetchone() == (1,):
                    return
                answer = EmailMessage()
                answer["To"] = message.sender()
                # The same each time: who gets it twice, for the process was killed here, can tell.
                answer["Message-ID"] = f"<{message.key}@example.org>"
                answer.set_content("We have it.")
                with smtplib.LMTP(host, int(port)) as connection:
                    connection.send_message(answer, "us@example.org", [message.sender()])
                with answers:
                    answers.execute("UPDATE answer SET sent = 1 WHERE key = ?", (message.key,))

        def process() -> None:
            process_mailbox(account_of(server), handle, state=str(tmp_path / "state"), delete=True, attempts=50)

        kills = sum(killed_at_random(process, chance, 0.2) for _ in range(10))
        assert in_child(process) == 0
        outgoing.wait()
        assert drop.messages == []
        times = Counter(
            line for got in outgoing.got for line in got.content.split(b"\r\n") if line.startswith(b"Message-ID")
        )
        assert len(times) == 12
        assert times.total() - 12 <= kills  # a kill between the answer and the note of it repeats that one


def test_two_hundred_mailboxes_are_handled_each_message_once(tmp_path: Path) -> None:
    done: Counter[str] = Counter()
    with ExitStack() as stack:
        servers = [stack.enter_context(MailboxServer([mail(2 * box), mail(2 * box + 1)])) for box in range(200)]
        accounts = [account_of(server) for server in servers]

        def handle(message: HandledMessage) -> None:
            done[message.key] += 1

        reports = [*process_many(accounts, handle, state=str(tmp_path / "state"), delete=True, threads=16)]
        assert not any(server.remaining for server in servers)
    assert [(report.fetched, report.deleted, report.error) for report in reports] == [(2, 2, None)] * 200
    assert (len(done), done.total()) == (400, 400)
