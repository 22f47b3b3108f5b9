"""A folder of ``.eml`` files: one file a message, every octet as the server has it.

Owns how such a folder differs from a Maildir; how files get there is `_folder`'s business. Until a message is published
its name begins with a dot, and ends in nothing that a mail program opens.
"""

from typing import ClassVar

from pop3fast.fetch.destinations._folder import FolderDestination


class EmlFolder(FolderDestination):
    """Messages in files of their own."""

    CONVERTS: ClassVar[bool] = False
    SUFFIX: ClassVar[str] = ".eml"
    HIDDEN: ClassVar[str] = ".pop3fast-"
    INSIDE: ClassVar[tuple[str, ...]] = ()
