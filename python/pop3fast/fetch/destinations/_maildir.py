"""A Maildir: one file a message, LF line ends, written in ``tmp`` and linked to ``new``.

Owns how a Maildir differs from another folder of files; how files get there is `_folder`'s business. The time of a file
is when it was delivered. A mail program moves messages from ``new`` to ``cur`` and adds flags behind a colon, so
messages are looked for in both.
"""

from typing import ClassVar

from pop3fast.fetch.destinations._folder import FolderDestination


class Maildir(FolderDestination):
    """Messages in a Maildir."""

    CONVERTS: ClassVar[bool] = True
    SUFFIX: ClassVar[str] = ""
    HIDDEN: ClassVar[str] = "pop3fast-"
    INSIDE: ClassVar[tuple[str, ...]] = ("tmp", "new", "cur")
