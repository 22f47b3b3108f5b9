"""The kinds of destinations: what a person writes for each, and what that means.

Owns the registry. Every sentence that lists the kinds comes from it, and so does the path of the state for each.
Nothing is opened here, and no error quotes what was written: there may be a secret in it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TypeGuard, cast

from pop3fast.fetch._files import Files
from pop3fast.fetch._identity import Entry
from pop3fast.fetch._waiting import Clock, SystemClock
from pop3fast.fetch.destinations._destination import Destination
from pop3fast.fetch.destinations._eml import EmlFolder
from pop3fast.fetch.destinations._guard import Guarded
from pop3fast.fetch.destinations._handler import HandlerDestination
from pop3fast.fetch.destinations._maildir import Maildir
from pop3fast.fetch.destinations._particulars import Particulars
from pop3fast.fetch.destinations._simple import SimpleDestination
from pop3fast.fetch.memory._state import FILE_NAME
from pop3fast.fetch.memory._state_home import state_at_home

if TYPE_CHECKING:
    from pop3fast.fetch.destinations._mbox import Mbox

METHODS = ("open", "prepare", "begin", "flush", "read_back", "hurry", "close")
"""What an object needs in order to be a destination."""


@dataclass(frozen=True)
class Kind:
    """One kind of destination."""

    form: str
    """How it is written."""
    make: Callable[[str, Particulars, Files, Clock], Destination]
    """Makes one of what is behind the colon. Raises `ValueError` for what makes no sense."""
    once: bool
    """Whether what lies there shows what was delivered, so that no message arrives twice. Where it does
    not, a message that was delivered and could not be remembered comes again, with the same key."""


def _folder(make: type[Maildir] | type[EmlFolder]) -> Callable[[str, Particulars, Files, Clock], Destination]:
    return lambda words, particulars, files, clock: make(
        _path(words), files, clock, by_batch=particulars.sync == "batch"
    )


# The others are imported when somebody delivers there: importing them takes longer than all the rest.


def _mbox(words: str, _: Particulars, files: Files, clock: Clock) -> Destination:
    from pop3fast.fetch.destinations._mbox import Mbox  # noqa: PLC0415 - as above

    if words.endswith("/"):
        raise ValueError("an mbox is a file, and this names a folder")
    return Mbox(_path(words), files, clock)


def _pipe(words: str, particulars: Particulars, _: Files, clock: Clock) -> Destination:
    from pop3fast.fetch.destinations._pipe import Pipe  # noqa: PLC0415 - as above

    return _many(lambda: Pipe(words, particulars, clock), particulars)


def _lmtp(words: str, particulars: Particulars, _files: Files, _clock: Clock) -> Destination:
    from pop3fast.fetch.destinations._lmtp import Lmtp  # noqa: PLC0415 - as above

    return _many(lambda: Lmtp(words, particulars), particulars)


def _many(make: Callable[[], SimpleDestination], particulars: Particulars) -> Destination:
    from pop3fast.fetch.destinations._at_once import AtOnce  # noqa: PLC0415 - as above

    return Guarded(AtOnce([make() for _ in range(particulars.jobs)]))


def _imap(scheme: str) -> Callable[[str, Particulars, Files, Clock], Destination]:
    def make(words: str, particulars: Particulars, _files: Files, _clock: Clock) -> Destination:
        from pop3fast.fetch.destinations._imap import Imap  # noqa: PLC0415 - as above

        return Guarded(Imap(f"{scheme}:{words}", particulars))

    return make


def _objects(scheme: str) -> Callable[[str, Particulars, Files, Clock], Destination]:
    def make(words: str, _particulars: Particulars, _files: Files, _clock: Clock) -> Destination:
        from pop3fast.fetch.destinations._objects import Objects  # noqa: PLC0415 - as above

        return Guarded(Objects(f"{scheme}:{words}"))

    return make


KINDS: dict[str, Kind] = {
    "maildir": Kind("maildir:PATH", _folder(Maildir), once=True),
    "mbox": Kind("mbox:PATH", _mbox, once=True),
    "eml": Kind("eml:PATH", _folder(EmlFolder), once=True),
    "pipe": Kind("pipe:COMMAND", _pipe, once=False),
    "lmtp": Kind("lmtp:HOST:PORT", _lmtp, once=False),
    "imaps": Kind("imaps://user@host/FOLDER", _imap("imaps"), once=False),
    "imap": Kind("imap://user@host/FOLDER", _imap("imap"), once=False),
    "s3": Kind("s3://BUCKET/PREFIX", _objects("s3"), once=True),
    "gs": Kind("gs://BUCKET/PREFIX", _objects("gs"), once=True),
    "az": Kind("az://CONTAINER/PREFIX", _objects("az"), once=True),
    "file": Kind("file:///FOLDER", _objects("file"), once=True),
}


def destination_forms() -> str:
    """Return how each kind of destination is written, for a person."""
    *others, last = [kind.form for kind in KINDS.values()]
    return f"{', '.join(others)} or {last}"


def open_destination(
    destination: object,
    files: Files | None = None,
    clock: Clock | None = None,
    particulars: Particulars | None = None,
) -> Destination:
    """Return the destination that *destination* names: a string, a path (a Maildir), or an object of one's own.

    ``~`` in it is the user's home. Nothing is touched yet. Raises `ValueError`, which does not quote it, when it names
    none. *particulars* are what a `Job` says besides; *files* and *clock* stand in for the operating system.
    """
    if isinstance(destination, HandlerDestination):
        return destination  # which raises nothing of others
    words = f"maildir:{destination}" if isinstance(destination, PurePath) else destination
    if not isinstance(words, str):
        return _guarded(destination)
    name, colon, rest = words.partition(":")
    if not colon or name not in KINDS:
        raise ValueError(f"a destination is {destination_forms()}")
    return KINDS[name].make(rest, particulars or Particulars(), files or Files(), clock or SystemClock())


def words_of(destination: object) -> str:
    """Return what a report calls *destination*."""
    if isinstance(destination, str):
        return destination
    if isinstance(destination, PurePath):
        return f"maildir:{destination}"
    return str(getattr(destination, "path", "")) or type(destination).__qualname__


def default_path(destination: Destination) -> str:
    """Return where the state of *destination* is kept: inside a folder, beside an mbox, for others in the user's home.

    That is ``$XDG_STATE_HOME/pop3fast/``, with a name that is made of the destination's words. The state of an
    mbox is there, too, when a mail program would show a file beside the mbox as a folder. Where there is a state
    already, it stays.
    """
    if isinstance(destination, Maildir | EmlFolder):
        return f"{destination.path}/{FILE_NAME}"
    if _is_mbox(destination):
        beside, at_home = f"{destination.path}.{FILE_NAME}", state_at_home(f"mbox:{destination.path}")
        if not Path(beside).exists() and (Path(at_home).exists() or _shows_files(Path(destination.path).parent)):
            return at_home
        return beside
    return state_at_home(words_of(destination))


def _shows_files(folder: Path) -> bool:
    """Return whether a mail program shows every file in *folder*: Thunderbird, which has its indexes there."""
    try:
        return next(folder.glob("*.msf"), None) is not None
    except OSError:
        return False


def path_of(destination: Destination, entry: Entry) -> str | None:
    """Return the file in which *destination* put a message; None where it is no file of ours."""
    if isinstance(destination, Maildir | EmlFolder):
        folder = f"{destination.path}/new" if isinstance(destination, Maildir) else destination.path
        return f"{folder}/{entry.place.decode('ascii', 'replace')}" if entry.place else None
    return destination.path if _is_mbox(destination) else None


def _is_mbox(destination: Destination) -> "TypeGuard[Mbox]":
    from pop3fast.fetch.destinations._mbox import Mbox  # noqa: PLC0415 - as above

    return isinstance(destination, Mbox)


def _guarded(destination: object) -> Destination:
    missing = [method for method in METHODS if not callable(getattr(destination, method, None))]
    if missing:
        raise ValueError(
            f"a destination is {destination_forms()}, a path, or an object with the methods of "
            f"pop3fast.fetch.Destination; a {type(destination).__name__} has no {', '.join(missing)}"
        )
    return Guarded(cast("Destination", destination))


def _path(words: str) -> str:
    if not words or "\0" in words:
        raise ValueError("a destination needs a path behind the colon")
    try:
        # The journal knows an mbox by its path. And a symbolic link with a slash behind it would be followed.
        return str(Path.cwd() / Path(words).expanduser())
    except RuntimeError as error:
        raise ValueError(str(error)) from error
