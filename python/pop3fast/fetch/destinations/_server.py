"""A server that takes mail, as a destination: one connection, made when it is needed and used again.

Owns that connection: another thread may close it in a hurry, and whoever loses it makes another. The kinds decide
what is said over it, and what the answers mean.
"""

from threading import Lock
from typing import Generic, Protocol, TypeVar

from pop3fast.fetch._errors import DestinationError, destination_error
from pop3fast.fetch.destinations._connection import LostError
from pop3fast.fetch.destinations._simple import SimpleDestination


class Session(Protocol):
    """What is held."""

    def close(self) -> None:
        """Close it at once."""

    def quit(self) -> None:
        """End it as it ought to be. Raises nothing."""


S = TypeVar("S", bound=Session)


class ServerDestination(SimpleDestination, Generic[S]):
    """The base of a kind."""

    def __init__(self) -> None:
        """Begin without a connection."""
        self.session: S | None = None
        self.in_a_hurry = False
        """Whether nothing is to be sent or waited for any more."""
        self._lock = Lock()

    def connect(self) -> S:
        """Return a session over a new connection. Raises ``OSError``, `LostError` and `DestinationError`."""
        raise NotImplementedError

    def connected(self) -> S:
        """Return the session, a new one where there is none. Raises `DestinationError`."""
        if self.session is None:
            try:
                session = self.connect()
            except OSError as error:
                raise destination_error(self.path, "connect to", error) from error
            except LostError as error:
                raise DestinationError(self.path, "connect to", str(error)) from error
            with self._lock:
                self.session = session
                if self.in_a_hurry:  # since the connection was begun: who goes on with it is not to wait for a reply
                    session.close()
        return self.session

    def open(self) -> None:
        """Connect. Raises `DestinationError`."""
        self.in_a_hurry = False
        self.connected()

    def hang_up(self) -> None:
        """Close the connection, if there is one."""
        if (session := self._let_go()) is not None:
            session.close()

    def hurry(self) -> None:
        """Wait for no reply any more."""
        self.in_a_hurry = True
        with self._lock:
            if self.session is not None:
                self.session.close()

    def close(self) -> None:
        """End the session as it ought to be."""
        super().close()
        if (session := self._let_go()) is not None:
            session.quit()

    def _let_go(self) -> S | None:
        with self._lock:
            session, self.session = self.session, None
        return session
