"""What of a command may be shown: every debug line, log record and exception asks here first.

Owns which arguments are secret. Decided by verb and by where in a SASL exchange the line stands, never by what
a secret looks like.
"""

MASK = "***"

# How many words of the command are no secret: the verb, and the user or the mechanism.
_SHOWN_WORDS = {"PASS": 1, "APOP": 2, "AUTH": 2}


def shown(command: str, *, in_sasl: bool = False) -> str:
    """Return *command* with its secrets replaced by ``***``. A line inside a SASL exchange is secret as a whole."""
    if in_sasl:
        return MASK
    verb, *_ = command.split(" ", 1)
    words = _SHOWN_WORDS.get(verb.upper())
    if words is None:
        return command
    fields = command.split(" ", words)
    return command if len(fields) <= words else " ".join([*fields[:words], MASK])


def encoded(command: str, encoding: str, *, in_sasl: bool = False) -> bytes:
    """Return *command* in *encoding*.

    Raises `UnicodeEncodeError` as ``bytes(command, encoding)`` does, but for a command with a secret it does not
    carry the command along.
    """
    try:
        return bytes(command, encoding)
    except UnicodeEncodeError as error:
        if shown(command, in_sasl=in_sasl) == command:
            raise
        masked = "?" * len(command)
        raise UnicodeEncodeError(error.encoding, masked, error.start, error.end, error.reason) from None
