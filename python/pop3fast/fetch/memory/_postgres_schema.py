"""The tables of a state in PostgreSQL, and the words of SQL that make them.

Owns the schema ``pop3fast`` of a database, its version, and that one worker makes it while others wait. The columns are
those of `_state_schema`; an account has besides who holds it, until when, and how often it was taken, and in a fleet
when its next turn is. An older version becomes this one when it is used.
"""

from typing import TYPE_CHECKING

from pop3fast.fetch._errors import StateError
from pop3fast.fetch.memory._state_rows import ENDING, HAS_ENDING

if TYPE_CHECKING:
    from psycopg import Connection

VERSION = 3

MAKING = 0x70F3FA57
"""The number of the advisory lock under which the tables are made: the mark that a file has, too."""

SEARCH_PATH = "SET search_path TO pop3fast"
"""What each connection begins with, so that no table of others is meant."""

TABLES = """
CREATE TABLE version (version INTEGER NOT NULL);
CREATE TABLE account (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    "user" TEXT NOT NULL,
    maildrop BYTEA,
    time BIGINT,
    clock BIGINT,
    doubted BIGINT,
    sizes TEXT NOT NULL DEFAULT '',
    knows_left INTEGER NOT NULL DEFAULT 0,
    nameless BIGINT,
    shown TEXT NOT NULL DEFAULT '',
    -- When a run ended with all that was asked for.
    last_success BIGINT,
    -- How many new messages a run left on the server.
    waiting BIGINT NOT NULL DEFAULT 0,
    -- Who has it, until when nobody may take it, and how often it was taken: what a worker is known by that was slow.
    holder TEXT,
    held_until TIMESTAMPTZ,
    token BIGINT NOT NULL DEFAULT 0,
    UNIQUE (host, port, "user")
);
CREATE TABLE seen (
    account BIGINT NOT NULL REFERENCES account,
    uid BYTEA NOT NULL,
    occurrence BIGINT NOT NULL,
    size BIGINT NOT NULL,
    octets BIGINT NOT NULL,
    fingerprint BYTEA NOT NULL,
    delivered_at BIGINT NOT NULL,
    content BYTEA NOT NULL DEFAULT '',
    place BYTEA NOT NULL DEFAULT '',
    missing_since BIGINT,
    deletions BIGINT NOT NULL DEFAULT 0,
    marked INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, uid, occurrence)
);
CREATE INDEX missing ON seen (account, missing_since) WHERE missing_since IS NOT NULL;
CREATE TABLE content (
    account BIGINT NOT NULL REFERENCES account,
    content BYTEA NOT NULL,
    copy BIGINT NOT NULL,
    missing_since BIGINT,
    deletions BIGINT NOT NULL DEFAULT 0,
    place BYTEA NOT NULL DEFAULT '',
    PRIMARY KEY (account, content, copy)
);
CREATE TABLE attempt (
    account BIGINT NOT NULL REFERENCES account,
    uid BYTEA NOT NULL,
    content BYTEA NOT NULL,
    attempts BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (account, uid, content)
);
CREATE TABLE handled (
    account BIGINT NOT NULL REFERENCES account,
    uid BYTEA NOT NULL,
    occurrence BIGINT NOT NULL,
    content BYTEA NOT NULL,
    octets BIGINT NOT NULL,
    delivered BYTEA NOT NULL,
    place BYTEA NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (account, uid, occurrence, content)
);
CREATE TABLE intent (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account BIGINT NOT NULL REFERENCES account,
    path BYTEA NOT NULL,
    device TEXT NOT NULL,
    inode TEXT NOT NULL,
    size BIGINT NOT NULL,
    before BYTEA NOT NULL,
    pad BYTEA NOT NULL
);
CREATE TABLE intended (
    intent BIGINT NOT NULL REFERENCES intent ON DELETE CASCADE,
    uid BYTEA NOT NULL,
    occurrence BIGINT NOT NULL,
    size BIGINT NOT NULL,
    octets BIGINT NOT NULL,
    fingerprint BYTEA NOT NULL,
    delivered_at BIGINT NOT NULL,
    content BYTEA NOT NULL,
    start BIGINT NOT NULL,
    length BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    head BYTEA NOT NULL,
    froms BYTEA NOT NULL DEFAULT '',
    earlier BIGINT NOT NULL DEFAULT 0,
    alike INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (intent, start)
)
"""

TABLES_OF_FLEETS = """
ALTER TABLE account ADD COLUMN IF NOT EXISTS waiting BIGINT NOT NULL DEFAULT 0;
-- A host has a row so that one worker at a time counts who is there (FOR UPDATE).
CREATE TABLE host (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    UNIQUE (host, port)
);
CREATE TABLE turn (
    account BIGINT PRIMARY KEY REFERENCES account,
    host BIGINT NOT NULL REFERENCES host,
    -- When it is due, and since when it counts as waiting: that is earlier where there was mail.
    due TIMESTAMPTZ NOT NULL,
    urgency TIMESTAMPTZ NOT NULL,
    -- What is remembered of its turns (`fleet._turns.Standing`).
    failures INTEGER NOT NULL DEFAULT 0,
    quiet INTEGER,
    delay DOUBLE PRECISION NOT NULL DEFAULT 0
);
CREATE INDEX urgent ON turn (host, urgency);
-- Those that somebody has, which are few: who counts them reads no others.
CREATE INDEX held ON account (id) WHERE held_until IS NOT NULL
"""
"""What version 2 has besides."""

INDEXES = f"""
CREATE INDEX ending ON seen (({ENDING})) WHERE {HAS_ENDING};
CREATE INDEX ending_of_content ON content (({ENDING})) WHERE {HAS_ENDING};
CREATE INDEX intending ON intent (account)
"""
"""What version 3 has besides. The first two hold nothing for mail that is in objects."""

LATER = {1: TABLES_OF_FLEETS, 2: INDEXES}
"""By what each version becomes the next."""


def make_tables(connection: "Connection[tuple[object, ...]]", path: str) -> None:
    """Make the schema when it is not there, and check its version. Raises psycopg's errors and `StateError`."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (MAKING,))
        found = connection.execute("SELECT to_regclass('pop3fast.version')").fetchone()
        if found is not None and found[0] is None:
            connection.execute("CREATE SCHEMA IF NOT EXISTS pop3fast")
            for statement in TABLES.split(";"):
                connection.execute(statement)
            connection.execute("INSERT INTO version VALUES (1)")
        row = connection.execute("SELECT version FROM version").fetchone()
        version = None if row is None else row[0]
        while isinstance(version, int) and version in LATER:
            for statement in LATER[version].split(";"):
                connection.execute(statement)
            version += 1
            connection.execute("UPDATE version SET version = %s", (version,))
    if version != VERSION:
        raise StateError(path, f"a newer version of pop3fast made it (format {version}, this one knows {VERSION})")
