"""A command on its way out, and what an error says of the command that it answers.

Owns that one command is one line: two lines, or more than any server reads, are never sent. No error holds an argument
of a command but its message number: it may be a secret.
"""

import re

from pop3fast._commands import message_number, row
from pop3fast._errors import AuthenticationError, CommandError, error_proto, name_command
from pop3fast._secrets import encoded_command, shown_verb

_CONTROL_CHARACTER = re.compile(rb"[\x00-\x1F\x7F]")

# RFC 2449 section 4 allows 255, an OAuth token needs some thousands. A server that is sent more than it reads hangs up
# in the middle of it, and what it had to say is lost.
_MAX_COMMAND_OCTETS = 2**20

# A login that is refused with one of these response codes, or none, is refused for what was given as user and secret.
_CREDENTIALS_REFUSED = frozenset({None, "AUTH"})


class CommandTooLongError(error_proto, ValueError):
    """A command was refused before an octet of it was sent."""


def command_octets(line: str, encoding: str, *, in_sasl: bool) -> bytes:
    """Return *line* as it is sent, without its line end; `ValueError` when it is more or longer than one line."""
    octets = encoded_command(line, encoding, in_sasl=in_sasl)
    # What is printable has no control character; asking the string first costs a fifth of the search.
    if not line.isprintable() and _CONTROL_CHARACTER.search(octets):
        raise ValueError("Control characters not allowed in commands")
    if len(octets) > _MAX_COMMAND_OCTETS:
        raise CommandTooLongError("line too long")
    return octets


def with_command(error: error_proto, verb: str, line: str) -> error_proto:
    """Return *error* with the command that it is about; only its verb and a message number are kept."""
    if row(verb).logs_in and isinstance(error, CommandError) and error.code in _CREDENTIALS_REFUSED:
        return AuthenticationError(error.response, command=verb)
    name_command(error, shown_verb(verb), message_number(verb, line))
    return error
