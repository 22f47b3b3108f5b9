"""Listings: UIDL and LIST in one round trip, and what their bodies say.

Owns when CAPA goes along with them, and that a body which is no listing breaks the session: it may be the reply to
another command. Never waits, and sends nothing: a client asks, and hands over what has come.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from pop3fast._batch import ListingBatch
from pop3fast._errors import CommandError, LimitExceeded, ProtocolError, protocol_error
from pop3fast._framing import FramingError, split_lines
from pop3fast._replies import MAX_CAPABILITIES_OCTETS, parse_capabilities, pipelines
from pop3fast._session import Session

T = TypeVar("T")


def may_ask_along(session: Session, pipelining: bool | None) -> bool:  # noqa: FBT001 - as the clients were given it
    """Return whether what the server can do is asked in the same round trip as the listings.

    Quirk q17: Gmail says only after the login that it pipelines. Who said so before says what else it can do now.
    """
    return pipelining is None and session.capabilities is None and pipelines(session.capabilities_before or ())


def parsed(
    body: bytes, parse: Callable[[bytes], dict[int, T]], broken: Callable[[ProtocolError], ProtocolError]
) -> dict[int, T]:
    """Return the *body* of a listing as a value; raise what *broken* makes of the error when it is not a listing."""
    try:
        return parse(body)
    except FramingError as error:
        # Its end was found, but a body that is no listing may be the reply to another command.
        raise broken(protocol_error(error)) from None


class Together:
    """The commands of one round trip, and what has come of each."""

    def __init__(self, *, with_capabilities: bool) -> None:
        """Ask for both listings, and for the capabilities where that is wanted."""
        self.batch = ListingBatch(*(["CAPA"] if with_capabilities else []))
        self.bodies: dict[str, bytes] = {}
        """What came, by command."""
        self.refused: dict[str, CommandError] = {}
        """What did not."""

    def refuse(self, error: CommandError) -> None:
        """Take note that a command was refused."""
        self.refused[error.command or ""] = error

    def capabilities(self, broken: Callable[[ProtocolError], ProtocolError]) -> Mapping[str, list[str]]:
        """Return what came of CAPA: nothing where it was refused. Raises what *broken* makes of one that is too long.

        In flight together, replies have one limit, which is that of a message.
        """
        body = self.bodies.get("CAPA", b"")
        if len(body) > MAX_CAPABILITIES_OCTETS:
            raise broken(LimitExceeded(f"multi-line response longer than {MAX_CAPABILITIES_OCTETS} octets"))
        return parse_capabilities(split_lines(body))
