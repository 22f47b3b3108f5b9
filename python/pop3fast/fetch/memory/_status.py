"""What is known of an account, for a person or program that watches many. A value."""

from typing import NamedTuple


class AccountStatus(NamedTuple):
    """What is known of an account."""

    last_success: float | None
    """When a fetch last ended with all that was asked for, in seconds since 1970; None when none has."""
    known: int = 0
    """How many messages are remembered as fetched."""
    failing: int = 0
    """How many did not come whole, or were refused by the destination, when they were last tried."""
    quarantined: int = 0
    """How many were given up and put aside."""
    waiting: int = 0
    """How many new messages were left on the server when a fetch last saw what is there: too large, beyond a limit,
    refused or failed, or not reached before the fetch ended."""
