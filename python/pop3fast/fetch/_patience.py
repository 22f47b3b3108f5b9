"""Patience: whether a fetch that was stopped by an error tries again, and after how long.

Owns the back-off, and how often a fetch tries again. It has no clock but the run's, and never waits. Never tries again
after a login that was refused, or a certificate that is not the server's.
"""

import socket
import ssl

from pop3fast import AuthenticationError, CommandError, ConnectionLost, LimitExceeded
from pop3fast._replies import says_too_many
from pop3fast.fetch._run import Run
from pop3fast.fetch.accounts._hosts import Visit

BACK_OFF_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""How long to wait before the first new try, the second and so on; the last holds for all further ones."""

MAX_TRIES = 6
"""After so many tries in a row without another message the fetch gives up: nearly two minutes."""

MAX_KNOCKS = 3
"""The same for a host that has not let this fetch in yet, where it hangs up or refuses one of several: eight seconds.
It may be a limit on connections (quirk q137), or a server that is starting; a dead host takes no longer."""

MAX_SLOW_LISTINGS = 2
"""How often to ask for a listing that does not come within the time-out. The first may have made the server build what
the second is answered from, or the two were asked for at once and may not be (quirk q111)."""

_HANGS_UP = (ConnectionLost, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Patience:
    """How long one fetch waits before it tries again, and when it gives up."""

    def __init__(self, run: Run) -> None:
        """Begin with all of it."""
        self._run = run
        self._tries = 0
        self._slow_listings = 0
        self._waited = 0.0
        self._began = run.clock.now()
        self._refusal: Exception | None = None

    def begin(self) -> float | None:
        """Note that a session is about to begin; return how long it may wait for each reply until it is logged in.

        None: as long as the account says. After a refusal it waits no longer than patience lasts: some servers take
        half a minute to say that a maildrop is in use (quirk q136), and that counts, too.
        """
        self._began = self._run.clock.now()
        timeout = self._run.reconnector.account.timeout
        if self._refusal is None:
            return timeout
        left = self._run.options.patience - self._waited
        return left if timeout is None else min(timeout, left)

    def let_in(self) -> None:
        """Note that the session is logged in."""
        self._refusal = None

    def after(self, error: Exception, visit: Visit) -> float | None:
        """Return the seconds to wait after *error*, None when no other try would help."""
        run = self._run
        if run.advanced:
            self._tries = 0
        seconds = BACK_OFF_SECONDS[min(self._tries, len(BACK_OFF_SECONDS) - 1)]
        self._tries += 1
        if self._is_refusal(error, visit):
            return self._after_refusal(error, seconds, visit)
        if self._tries > self._most_tries(error, visit):
            return None
        delay = self._until_login()
        return seconds if seconds >= delay else self._wait(delay)

    def at_checkpoint(self) -> float:
        """Return the seconds to wait between two sessions when all goes well."""
        self._tries = 0
        return self._until_login()

    def told(self, error: Exception) -> Exception:
        """Return what to tell a person about *error*, the last one: its cause, if that is known."""
        if not isinstance(error, TimeoutError):
            return error
        if self._slow_listings >= MAX_SLOW_LISTINGS:
            return TimeoutError(
                f"the server did not list its messages in time (UIDL, LIST): {error}; a large mailbox may take longer, "
                "for which there is timeout (--timeout)"
            )
        return self._refusal or error

    # What is made of an error.

    def _is_refusal(self, error: Exception, visit: Visit) -> bool:
        """Return whether the server said in any way that a later session may succeed."""
        if isinstance(error, CommandError) and (says_too_many(error.response) or _is_temporary(error)):
            return True
        if self._refusal is not None and isinstance(error, TimeoutError):
            return True
        # While others of ours are welcome.
        return self._came_before_login(error) and visit.saw_another_inside

    def _came_before_login(self, error: Exception) -> bool:
        """Return whether *error* came before a password was asked for, and says nothing of why."""
        if self._run.reconnector.has_shown_secret or isinstance(error, AuthenticationError):
            return False
        if isinstance(error, CommandError):
            # A greeting that says nothing known.
            return not error.command and error.code is None
        nobody_there = isinstance(error, socket.gaierror | ssl.SSLCertVerificationError)
        return isinstance(error, ConnectionLost | OSError) and not nobody_there

    def _after_refusal(self, error: Exception, seconds: float, visit: Visit) -> float | None:
        in_words = isinstance(error, CommandError) and (says_too_many(error.response) or not error.command)
        if in_words or self._came_before_login(error):
            # Quirk q137: it is about how many there are, and not about this maildrop.
            visit.refused()
        if isinstance(error, CommandError):
            self._refusal = error
        if not self._run.advanced:
            # Quirk q136: how long the server took to say so.
            self._waited += self._run.clock.now() - self._began
        return self._wait(seconds)

    def _most_tries(self, error: Exception, visit: Visit) -> int:
        run = self._run
        if self._came_before_login(error) and not run.report.sessions:
            if visit.had_company and not isinstance(error, TimeoutError):
                # Nobody knows yet whether that one is let in. The next try is made when it has gone.
                visit.refused()
                return MAX_KNOCKS
            return MAX_KNOCKS if isinstance(error, _HANGS_UP) else 0
        if isinstance(error, CommandError | ssl.SSLCertVerificationError) or not run.report.sessions:
            return 0
        if run.is_listing and isinstance(error, TimeoutError):
            self._slow_listings += 1
            return MAX_TRIES if self._slow_listings < MAX_SLOW_LISTINGS else 0
        # A reply that is too long is too long the next time, too.
        return 1 if isinstance(error, LimitExceeded) else MAX_TRIES

    def _until_login(self) -> float:
        run = self._run
        return max(0.0, run.logged_in_at + run.login_delay - run.clock.now())

    def _wait(self, seconds: float) -> float | None:
        """Return how long the server wants us to wait; None when that is too long."""
        seconds = max(seconds, self._until_login())
        self._waited += seconds
        return seconds if self._waited < self._run.options.patience else None


def _is_temporary(error: CommandError) -> bool:
    return error.temporary and not isinstance(error, AuthenticationError)
