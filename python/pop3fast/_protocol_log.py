"""The protocol in the log: ``logging.getLogger("pop3fast")`` at DEBUG, one record a command and one a status line.

Owns the form of such a record. It never contains a secret (`_secrets` masks them by their place in the protocol), a
line of a message, or a character that a terminal would obey. While nobody listens, it costs one question a command.
"""

import logging
from collections.abc import Callable
from functools import partial

from pop3fast import _replies
from pop3fast._secrets import MASK, shown

LOGGER = logging.getLogger("pop3fast")

is_on: Callable[[], bool] = partial(LOGGER.isEnabledFor, logging.DEBUG)
"""Return whether somebody listens."""


def sent(host: str, port: int, command: str, *, in_sasl: bool) -> None:
    """Record a command."""
    text = _replies.readable(shown(command, in_sasl=in_sasl).encode("utf-8", "backslashreplace"))
    LOGGER.debug("%s:%s C: %s", host, port, text)


def received(host: str, port: int, status_line: bytes, *, in_sasl: bool) -> None:
    """Record a status line. What a server asks in a SASL exchange is half of what a guess at the secret needs."""
    if in_sasl and _replies.is_continuation(status_line):
        text = f"+ {MASK}"
    elif status_line[:1] in {b"+", b"-"}:
        text = _replies.readable(status_line)
    else:  # no reply, and perhaps a line of a message
        text = f"({_replies.counted(status_line)})"
    LOGGER.debug("%s:%s S: %s", host, port, text)
