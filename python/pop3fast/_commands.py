"""The commands: one row for each verb, with everything to know before it is sent.

Owns how much of a command may be shown, whether a body follows its +OK, whether others may be in flight beside it,
whether it logs in, and whether it is about a message. A verb without a row is never shown, and is alone in flight. Must
never look at what a server says.
"""

from typing import NamedTuple

_LONGEST_NUMBER = 20  # digits, of 64 bits


class Verb(NamedTuple):
    """What is known of a command by its first word."""

    shown_words: int | None = None
    """How many of its words may be shown, the verb included; None for all."""
    has_body: bool = False
    """Whether a body follows its +OK; behind that of LIST and UIDL, where they are about no message."""
    alone: bool = False
    """Whether nothing is in flight beside it: it changes who talks to whom, and a server may throw away what comes with
    it."""
    logs_in: bool = False
    about_message: bool = False
    """Whether its first argument is a message number."""


VERBS = {
    "STAT": Verb(),
    "LIST": Verb(has_body=True, about_message=True),
    "UIDL": Verb(has_body=True, about_message=True),
    "RETR": Verb(has_body=True, about_message=True),
    "TOP": Verb(has_body=True, about_message=True),
    "DELE": Verb(about_message=True),
    "NOOP": Verb(),
    "RSET": Verb(),
    "CAPA": Verb(has_body=True),
    "UTF8": Verb(),
    "LANG": Verb(),
    "XTND": Verb(),
    "STLS": Verb(alone=True),
    "QUIT": Verb(alone=True),
    "USER": Verb(alone=True, logs_in=True),
    "RPOP": Verb(alone=True, logs_in=True),
    "PASS": Verb(1, alone=True, logs_in=True),
    "APOP": Verb(2, alone=True, logs_in=True),
    "AUTH": Verb(2, alone=True, logs_in=True),
}

UNKNOWN = Verb(0, alone=True)


def verb_of(line: str) -> str:
    """Return the first word of a command in upper case."""
    return line.split(" ", 1)[0].upper()


def row(verb: str) -> Verb:
    """Return what is known of *verb*, given in upper case."""
    return VERBS.get(verb, UNKNOWN)


def message_number(verb: str, line: str) -> int | None:
    """Return the message number that a command of *verb* is about; None where it is about none."""
    if not row(verb).about_message:
        return None
    argument = line.split(" ")[1:2]
    if not argument or not argument[0].isdecimal() or len(argument[0]) > _LONGEST_NUMBER:
        return None
    return int(argument[0])
