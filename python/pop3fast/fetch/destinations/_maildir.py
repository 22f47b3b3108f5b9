"""A Maildir: one file a message, LF line ends, written in ``tmp`` and linked to ``new``.

Owns what makes a folder of files a Maildir; how they get there is `_folder`'s business. The time of a file is when it
was delivered. A mail program moves messages from ``new`` to ``cur`` and adds their flags behind a colon, so both are
looked in.
"""

from typing import ClassVar

from pop3fast.fetch.destinations._folder import FolderDestination


class Maildir(FolderDestination):
    """Messages in a Maildir."""

    CONVERTS: ClassVar[bool] = True
    SUFFIX: ClassVar[str] = ""
    HIDDEN: ClassVar[str] = "pop3fast-"
    INSIDE: ClassVar[tuple[str, ...]] = ("tmp", "new", "cur")
