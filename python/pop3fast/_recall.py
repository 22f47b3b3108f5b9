"""Recall: what one session has shown of a server, for the next one with it, which then waits for less.

Owns what may be taken from an earlier session: by which mechanism it logged in, that the server pipelines, and how many
octets of commands it takes at once. Never whose replies are whose, nor any word of the server's.
"""

from typing import NamedTuple

from pop3fast import _login, _replies
from pop3fast._client import POP3
from pop3fast._conversation import pipeline_of
from pop3fast._hooks import session_of


class Shown(NamedTuple):
    """What a server has shown in one session, for the next one with it."""

    mechanism: str = ""
    """By which the login was, where it was chosen by what the server offered."""
    pipelines: bool = False
    """Whether it said after the login that it pipelines."""
    octets: int = 0
    """So many octets of commands in flight have been answered."""


def shown_by(pop: POP3) -> Shown:
    """Return what the server has shown in a session, which may be closed."""
    session = session_of(pop)
    pipelines = _replies.pipelines(session.capabilities or ())
    return Shown(session.mechanism, pipelines, 0 if session.pipeline is None else session.pipeline.shown)


def mechanism_as_before(shown: Shown, *, by_token: bool) -> str | None:
    """Return the mechanism to log in by without asking what the server offers; None when it has to be asked.

    Only one that would be chosen: a weaker one than the server has shown is never taken.
    """
    usable = (*_login.usable(by_token=by_token), *(() if by_token else ("USER",)))
    return shown.mechanism if shown.mechanism in usable else None


def recall(pop: POP3, shown: Shown) -> None:
    """Begin a session that is logged in with what the server has *shown* before."""
    session = session_of(pop)
    if shown.pipelines and session.capabilities is None and session.capabilities_before is None:
        # What it can do now comes with the first listings, as where it was asked before the login.
        session.capabilities_before = {"PIPELINING": ()}
    if shown.pipelines and shown.octets:
        pipeline_of(pop, session).recall(shown.octets)
