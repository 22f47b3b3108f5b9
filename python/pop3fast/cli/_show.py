"""`pop3fast show`: one message to the standard output, or deleted from the server.

Owns how a message is shown on a terminal: with every character escaped that a terminal would obey. Any other reader of
the standard output gets the message octet by octet, as the server has it.
"""

import argparse
import sys

from pop3fast import POP3, CommandError
from pop3fast.cli._text import complain, in_words, printable_lines, say, write_octets


def show(pop: POP3, command: argparse.Namespace, _: dict[str, object]) -> int:
    """Write the message that *command* names, or delete it; return the exit status, 1 when the server refuses."""
    number: int = command.number
    try:
        if command.delete:
            pop.dele(number)
        elif sys.stdout.isatty():
            say(printable_lines(pop.retr_bytes(number)))
        else:
            pop.retr_into(number, _Output())
    except CommandError as error:
        complain(in_words(error))
        return 1
    if command.delete:
        pop.quit()
        say(f"message {number} is deleted")
    return 0


class _Output:
    """The standard output, as far as a message is written to it."""

    def write(self, octets: bytes) -> None:
        write_octets(octets)
