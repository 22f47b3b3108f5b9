"""Batches: which commands a call about many messages is made of, whichever client it is given to.

Pure. Owns which arguments such a call may have, which messages it is about when none are named, and which sizes the
pipeline gets.
"""

from array import array
from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar

from pop3fast._batch import Batch, PieceBatch, message_numbers
from pop3fast._commands import row
from pop3fast._deadline import Deadline
from pop3fast._message import Message

T = TypeVar("T")

MessageNumber: TypeAlias = int | str


def deadline_of(verb: str, window: int, deadline: float | None) -> Deadline | None:
    """Return the deadline of a call over many messages, which begins now. Raises `ValueError` for a bad *window*."""
    if window < 1:
        raise ValueError(f"window is the number of commands in flight, at least 1: {window!r}")
    return None if deadline is None else Deadline(deadline, f"the {verb} of many messages")


def batch_of(
    verb: str,
    numbers: "array[int] | None",
    listed: Mapping[int, int],
    make: Callable[[int, bytes], T],
    *,
    arguments: str,
    window: int,
) -> Batch[T]:
    """Return the commands of *verb* about *numbers*; without them about all that are *listed*, number to octets."""
    sizes = array("Q", listed.values()) if numbers is None and verb == "RETR" else None
    return Batch(
        verb,
        message_numbers(listed) if numbers is None else numbers,
        make,
        arguments=arguments,
        has_body=row(verb).has_body,
        sizes=sizes,
        window=window,
    )


def pieces_of(
    numbers: "array[int] | None",
    listed: Mapping[int, int],
    *,
    sizes: Mapping[int, int] | None,
    window: int,
    ahead: int | None,
) -> PieceBatch:
    """Return RETR of *numbers*, or of all that are *listed*, in pieces. *sizes* are what the caller knows of them."""
    known = sizes or listed
    wanted = message_numbers(listed) if numbers is None else numbers
    octets = None
    if any(known.values()):  # a server that says 0 says nothing
        octets = array("Q", [known.get(number, 0) for number in wanted])
    return PieceBatch(wanted, sizes=octets, window=window, ahead=ahead)


def message_maker(unique_ids: Mapping[int, str]) -> Callable[[int, bytes], Message]:
    """Return what makes a message of its number and content, with its unique-id where that is known."""
    if not unique_ids:
        return Message
    return lambda number, content: Message(number, content, unique_ids.get(number) or None)
