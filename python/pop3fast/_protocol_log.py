"""The protocol in the log: ``logging.getLogger("pop3fast")`` at DEBUG, one record a command and one a status line.

Owns the form of such a record. It never contains a secret (`_secrets` masks them by their place in the protocol), a
line of a message, or a character that a terminal would obey. While nobody listens, it costs one question a command.
"""

import sys
from typing import TYPE_CHECKING

from pop3fast import _replies
from pop3fast._secrets import MASK, shown

if TYPE_CHECKING:
    import logging

DEBUG = 10
"""``logging.DEBUG``."""

# The one logger, once there is one.
_loggers: "list[logging.Logger]" = []


def is_on() -> bool:
    """Return whether somebody listens. Nobody does as long as nobody has imported ``logging``, which takes long."""
    if not _loggers:
        # Another thread's import may be in the middle of it.
        get_logger = getattr(sys.modules.get("logging"), "getLogger", None)
        if get_logger is None:
            return False
        _loggers.append(get_logger("pop3fast"))
    return _loggers[0].isEnabledFor(DEBUG)


def sent(host: str, port: int, command: str, *, in_sasl: bool) -> None:
    """Record a command."""
    text = _replies.readable(shown(command, in_sasl=in_sasl).encode("utf-8", "backslashreplace"))
    _loggers[0].debug("%s:%s C: %s", host, port, text)


def received(host: str, port: int, status_line: bytes, *, in_sasl: bool) -> None:
    """Record a status line. What a server asks in a SASL exchange is half of what a guess at the secret needs."""
    if in_sasl and _replies.is_continuation(status_line):
        text = f"+ {MASK}"
    elif status_line[:1] in {b"+", b"-"}:
        text = _replies.readable(status_line)
    else:  # no reply, and perhaps a line of a message
        text = f"({_replies.counted(status_line)})"
    _loggers[0].debug("%s:%s S: %s", host, port, text)
