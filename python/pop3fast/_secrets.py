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


def without_secret(error: UnicodeEncodeError, command: str, *, in_sasl: bool = False) -> UnicodeEncodeError:
    """Return *error*, raised for *command*, such that it does not carry a secret along."""
    if shown(command, in_sasl=in_sasl) == command:
        return error
    return UnicodeEncodeError(error.encoding, "?" * len(error.object), error.start, error.end, error.reason)
