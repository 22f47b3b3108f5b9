"""The lock of an mbox: an fcntl lock on the file and ``PATH.lock`` beside it, since some programs know only one.

Owns waiting for them, at most `LOCK_SECONDS`, and saying who has them. The file is locked first, and for as long as
``PATH.lock`` is there. So when the file is locked, and there is a ``PATH.lock`` of this program on this machine, a
process that was stopped has left it, and it may be taken away.
"""

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator

from pop3fast.fetch._errors import DestinationError, destination_error
from pop3fast.fetch._files import Files
from pop3fast.fetch._ownership import objection_to
from pop3fast.fetch._waiting import Clock

LOCK_SECONDS = 30.0
"""How long to wait for another program. Mail programs lock an mbox while they read or rewrite it: seconds."""

POLL_SECONDS = 0.2
"""How often to look; what others use lies between 0.1 and some seconds."""

NO_DOTLOCK = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""A user cannot make ``PATH.lock`` in /var/mail, and some file systems have no hard links. Then the lock on the file is
enough."""

A_SECOND = 1_000_000_000

MAX_DOTLOCK_OCTETS = 1024


class MboxLock:
    """Opens an mbox and locks it."""

    def __init__(self, files: Files, folder: int, path: str, clock: Clock, hurried: Callable[[], bool]) -> None:
        """Lock the mbox *path*, which is in *folder*; wait for it only until *hurried* says so."""
        self._clock = clock
        self._hurried = hurried
        self._files = files
        self._folder = folder
        self._path = path
        self._name = os.path.split(path)[1]
        self._dotlock = f"{self._name}.lock"
        self._has_dotlock = False
        # What the file was when it was locked.
        self._found = os.stat_result([0] * 10)
        self._mark = f"pop3fast {os.getpid()} {socket.gethostname()}\n".encode()

    @contextlib.contextmanager
    def created(self) -> Iterator[int]:
        """Give the mbox, open and locked; it is made when it does not exist. Raises `DestinationError`."""
        with self.locked(create=True) as file:
            if file is None:
                raise DestinationError(self._path, "append to", "it was taken away as soon as it was made")
            yield file

    @contextlib.contextmanager
    def locked(self, *, create: bool) -> Iterator[int | None]:
        """Give the mbox, open and locked; None when it does not exist and is not to be created.

        Raises `DestinationError` when it is no mbox, or is locked for too long.
        """
        deadline = self._clock.now() + LOCK_SECONDS
        while True:
            try:
                file = self._open(create=create)
                holder = None if file is None else self._lock(file)
            except OSError as error:
                raise destination_error(self._path, "lock", error) from error
            if holder is None:
                break
            if self._hurried():
                raise DestinationError(self._path, "lock", f"in a hurry: {holder}")
            if self._clock.now() >= deadline:
                raise DestinationError(self._path, "lock", f"for {LOCK_SECONDS:.0f} seconds {holder}")
            self._clock.pause(POLL_SECONDS)
        if file is None:
            yield None
            return
        try:
            yield file
        finally:
            self._leave_new(file)
            if self._has_dotlock:
                self._has_dotlock = False
                with contextlib.suppress(OSError):
                    self._files.unlink(self._dotlock, self._folder)
            with contextlib.suppress(OSError):
                self._files.close(file)

    def _leave_new(self, file: int) -> None:
        """Leave the times of *file* so that mail programs and shells still tell whether it has new mail.

        It has when it was written to after it was read. Programs that compare whole seconds see that, too.
        """
        with contextlib.suppress(OSError):
            status = self._files.stat(file)
            accessed, modified = self._found.st_atime_ns, status.st_mtime_ns
            if modified != self._found.st_mtime_ns:
                accessed = min(accessed, modified - A_SECOND)
            if accessed != status.st_atime_ns:
                self._files.set_times(file, accessed, modified)

    def _open(self, *, create: bool) -> int | None:
        try:
            status = self._files.stat_name(self._name, self._folder)
        except FileNotFoundError:
            if not create:
                return None
            with contextlib.suppress(FileExistsError):
                self._files.close(self._files.create(self._name, self._folder))
        else:
            # Before it is opened: it may be a device.
            self._check(status)
        file = self._files.open_to_append(self._name, self._folder)
        try:
            self._check(self._files.stat(file))
        except BaseException:
            self._files.close(file)
            raise
        return file

    def _check(self, status: os.stat_result) -> None:
        if objection := objection_to(self._path, status, self._files.stat(self._folder)):
            raise DestinationError(self._path, "append to", objection)

    def _lock(self, file: int) -> str | None:
        """Lock *file*; return who else has it, and close it, when that cannot be done now."""
        try:
            if not self._files.lock(file):
                holder: str | None = "another program has had it locked"
            elif not self._is_still(file):
                holder = "other programs have kept putting new files in its place"
            else:
                holder = self._take_dotlock()
        except BaseException:
            self._files.close(file)
            raise
        if holder is not None:
            self._files.close(file)
        return holder

    def _is_still(self, file: int) -> bool:
        """Return whether *file* still has its name: whoever rewrites an mbox may do so in a new file."""
        try:
            named = self._files.stat_name(self._name, self._folder)
        except FileNotFoundError:
            return False
        self._found = self._files.stat(file)
        return os.path.samestat(named, self._found)

    def _take_dotlock(self) -> str | None:
        # It has its content from the first moment on, also after a power cut: nobody could tell who made an empty one.
        tmp_name = f".{self._name}.pop3fast-lock"
        try:
            with contextlib.suppress(FileNotFoundError):
                self._files.unlink(tmp_name, self._folder)
            file = self._files.create(tmp_name, self._folder)
            try:
                self._files.write(file, self._mark)
                self._files.sync(file)
            finally:
                self._files.close(file)
            try:
                return self._link_dotlock(tmp_name)
            finally:
                self._files.unlink(tmp_name, self._folder)
        except OSError as error:
            if error.errno not in NO_DOTLOCK:
                raise
            return self._holder_of_dotlock()

    def _link_dotlock(self, tmp_name: str) -> str | None:
        while True:
            try:
                self._files.link(tmp_name, self._folder, self._dotlock, self._folder)
            except FileExistsError:
                if not self._is_left_over():
                    return self._holder()
                with contextlib.suppress(FileNotFoundError):  # a person may have done so meanwhile, as was advised
                    self._files.unlink(self._dotlock, self._folder)
            else:
                self._has_dotlock = True
                return None

    def _holder_of_dotlock(self) -> str | None:
        """Return who has ``PATH.lock`` where this program cannot make one."""
        try:
            self._files.stat_name(self._dotlock, self._folder)
        except FileNotFoundError:
            return None
        return self._holder()

    def _holder(self) -> str:
        return f"{self._path}.lock has been there; if no program uses the mailbox, take that file away"

    def _is_left_over(self) -> bool:
        try:
            file = self._files.open_to_append(self._dotlock, self._folder)
        except OSError:
            return False
        try:
            if self._files.stat(file).st_uid != os.geteuid():
                return False
            program, _, rest = self._files.read(file, MAX_DOTLOCK_OCTETS, 0).partition(b" ")
        finally:
            self._files.close(file)
        mine = self._mark.split(b" ", 2)
        pid, _, host = rest.partition(b" ")
        # On other systems the lock on the file does not keep other threads of the process out.
        return program == mine[0] and host == mine[2] and (sys.platform == "linux" or pid != mine[1])
