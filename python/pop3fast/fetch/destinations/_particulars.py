"""Particulars: what a destination has to be told beside its words. A value; no repr of it shows a secret."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

Secret: TypeAlias = str | Callable[[], str]
"""A password or token, or what gives one when it is asked."""

PIPE_SECONDS = 600.0
"""How long a program may take for one message: longer than a virus scanner or a busy database does, and short enough
that one that hangs is seen within the hour."""

Sync: TypeAlias = Literal["each", "batch"]
"""How files are made durable: each by itself, or a batch at once, by syncing the file system that they are on."""

MOST_JOBS = 1000
"""More threads, processes or connections for one account are a slip of the pen."""


@dataclass(frozen=True)
class Particulars:
    """What some kinds of destinations need. Raises `ValueError` for what makes no sense."""

    user: str = ""
    """Who logs in to the account whose mail it is."""
    recipient: str | tuple[str, ...] | None = None
    """For whom the mail is; without it, for *user*."""
    pipe_timeout: float = PIPE_SECONDS
    """The seconds that a program may take for one message."""
    to_password: Secret | None = field(default=None, repr=False)
    """The password for the server that the mail goes to."""
    to_token: Secret | None = field(default=None, repr=False)
    """An OAuth 2 access token for it."""
    to_context: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    """What decides about the certificate of a server that the mail goes to; `lmtp:` uses TLS only with it."""

    jobs: int = 1
    """How many messages may be on their way at once (`pipe:`, `lmtp:`); with one, the order is kept."""

    to_create: bool = False
    """Whether a folder that is missing is made (`imap:`)."""

    sync: Sync = "each"
    """How files become durable (`maildir:`, `eml:`); where a batch cannot be at once, each does."""

    def __post_init__(self) -> None:
        if not 1 <= self.jobs <= MOST_JOBS:
            raise ValueError(f"jobs_per_account is from 1 to {MOST_JOBS}, not {self.jobs!r}")
        if self.sync not in get_args(Sync):
            raise ValueError(f"sync is each or batch, not {self.sync!r}")
        if self.to_password is not None and self.to_token is not None:
            raise ValueError("a password or a token logs in to where the mail goes, one of to_password and to_token")
        if not self.pipe_timeout > 0:
            raise ValueError(f"pipe_timeout is a number of seconds above 0, not {self.pipe_timeout!r}")
        # Who logs in may have any name.
        for recipient in self.recipients if self.recipient is not None else ():
            if not recipient or not recipient.isprintable() or set(recipient) & {" ", "<", ">"}:
                raise ValueError("a recipient is an address or the name of a user, without blanks and <>")

    @property
    def recipients(self) -> tuple[str, ...]:
        """For whom the mail is, each once: a server answers each RCPT, and two of one cannot be told apart."""
        if self.recipient is None:
            return (self.user,) if self.user else ()
        return (self.recipient,) if isinstance(self.recipient, str) else tuple(dict.fromkeys(self.recipient))
