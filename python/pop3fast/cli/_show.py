"""`pop3fast show`: one message to the standard output, or deleted from the server.

Owns how a message is shown on a terminal: with every character escaped that a terminal would obey. Any other reader of
the standard output gets the message octet by octet, as the server has it.
"""

import argparse
import sys

from pop3fast import POP3, CommandError
from pop3fast.cli._text import UsageError, complain, in_words, printable_lines, say, write_octets


def show(pop: POP3, command: argparse.Namespace, _: dict[str, object]) -> int:
    """Write the message that *command* names, or delete it; return the exit status, 1 when the server refuses."""
    try:
        if command.delete:
            return _delete(pop, command)
        if sys.stdout.isatty():
            say(printable_lines(pop.retr_bytes(command.number)))
        else:
            pop.retr_into(command.number, _Output())
    except CommandError as error:
        complain(in_words(error))
        return 1
    return 0


def check_arguments(command: argparse.Namespace) -> None:
    """Raise `UsageError` when *command* names no message, or does so in two ways."""
    if (command.number is None) == (command.larger is None):
        raise UsageError("which message? Its number, as list shows it; or --larger SIZE with --delete")
    if command.larger is not None and not command.delete:
        raise UsageError("--larger is for --delete; list shows how large each message is")


def _delete(pop: POP3, command: argparse.Namespace) -> int:
    """Delete the message, or all that are larger; say which they were once the server has confirmed it."""
    sizes = {} if command.larger is None else pop.sizes()
    numbers = [number for number, octets in sizes.items() if octets > command.larger] if sizes else []
    for number in [command.number] if command.larger is None else numbers:
        pop.dele(number)
    try:
        pop.quit()
    except CommandError:
        # Otherwise the end of the block would say QUIT once more.
        pop.close()
        raise
    if command.larger is None:
        say(f"message {command.number} is deleted")
    for number in numbers:
        say(f"message {number} of {sizes[number]:,} octets is deleted")
    return 0


class _Output:
    """The standard output, as far as a message is written to it."""

    def write(self, octets: bytes) -> None:
        write_octets(octets)
