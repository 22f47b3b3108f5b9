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


def encoded(text: str, encoding: str, *, secret: bool) -> bytes:
    """Return *text* in *encoding*; an error for what is *secret* does not carry it along.

    Raises `UnicodeEncodeError` as ``bytes(text, encoding)`` does.
    """
    try:
        return bytes(text, encoding)
    except UnicodeEncodeError as error:
        if not secret:
            raise
        masked = UnicodeEncodeError(error.encoding, "?" * len(text), error.start, error.end, error.reason)
    # Out here, where the error that holds the secret is not the context of the one that does not.
    raise masked
