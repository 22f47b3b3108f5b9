"""What of a command may be shown: every debug line, log record and exception asks here first.

Owns the mask, and that everything gets it which `_commands` does not list as showable. The verb and the place in a SASL
exchange decide, never what a secret looks like.
"""

from pop3fast._commands import VERBS, row, verb_of

MASK = "***"


def shown(command: str, *, in_sasl: bool = False) -> str:
    """Return *command* with its secrets replaced by ``***``. A line inside a SASL exchange is secret as a whole."""
    if in_sasl:
        return MASK
    words = row(verb_of(command)).shown_words
    if words is None:
        return command
    fields = command.split(" ", words)
    return command if len(fields) <= words else " ".join([*fields[:words], MASK])


def shown_verb(verb: str) -> str:
    """Return *verb* as an error may name it: one that is not listed may be a secret, sent where a command should be."""
    return verb if verb in VERBS else MASK


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


def encoded_command(line: str, encoding: str, *, in_sasl: bool) -> bytes:
    """Return a command in *encoding*; an error does not carry it along unless all of it may be shown."""
    try:
        return bytes(line, encoding)
    except UnicodeEncodeError:
        pass
    return encoded(line, encoding, secret=shown(line, in_sasl=in_sasl) != line)
