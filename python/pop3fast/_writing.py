"""Writing octets to a caller's file, which may take fewer at a time than it is given.

Pure. Owns what the answer of ``write`` means. Who calls it, and in which thread, each client decides.
"""

import errno
import io


def left_of(octets: bytes | memoryview, taken: int | None, file: object) -> bytes | memoryview:
    """Return what is left of *octets* when ``write`` of *file* has answered *taken*.

    None is what a file of one's own may return for all. Raises ``BlockingIOError`` when an unbuffered file would
    block, and another ``OSError`` when it takes nothing.
    """
    if taken is None and isinstance(file, io.RawIOBase):
        raise BlockingIOError(errno.EAGAIN, "the file would block; nothing was written", 0)
    if taken is None or taken >= len(octets):
        return b""
    if taken <= 0:
        raise OSError(errno.EIO, "the file takes nothing more")
    return memoryview(octets)[taken:]
