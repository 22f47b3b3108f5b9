"""Somebody else's files: mail goes into none of them, and nothing that they say is believed."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from fetching import fetch, mail
from mboxes import THEIRS, append, found
from pop3fast.fetch import DestinationError, State, StateError, open_destination
from pop3fast.fetch._ownership import objection_to
from pop3fast.fetch.memory import _state_files as state_files

NOBODY = 65534
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@pytest.fixture
def box(tmp_path: Path) -> Path:
    path = tmp_path / "mail/box"
    path.parent.mkdir()
    return path


def refused(box: Path, match: str) -> None:
    """Check that no mail goes into *box*, neither at the beginning nor when it was exchanged after that."""
    before = box.read_bytes()
    with pytest.raises(DestinationError, match=match):
        open_destination(f"mbox:{box}").open()
    assert box.read_bytes() == before


@only_root
@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_an_mbox_of_another_user_in_a_sticky_folder_is_refused(box: Path, mode: int) -> None:
    box.parent.chmod(0o1777)
    box.touch()
    os.chown(box, NOBODY, NOBODY)
    box.chmod(mode)
    refused(box, f"cannot append to {box}: user {NOBODY} owns it, and this is user 0; .*chown 0 {box}")


def test_an_mbox_with_another_name_is_refused(box: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(THEIRS)
    box.hardlink_to(tmp_path / "secret")
    refused(box, rf"2 names \(hard links\).*run: cp -p {box} {box}.new && mv {box}.new {box}")


@pytest.mark.parametrize("mode", [0o602, 0o622, 0o666, 0o646])
def test_an_mbox_that_others_may_write_to_is_refused(box: Path, mode: int) -> None:
    box.write_bytes(THEIRS)
    box.chmod(mode)
    refused(box, f"others may write to it; run: chmod go-w {box}")
    box.chmod(0o644)
    append(box, mail(1))
    assert len(found(box)) == 2


@only_root
def test_the_mail_folder_of_debian_is_as_it_was(box: Path) -> None:
    """/var/mail is root's and of the group mail, and so is every mbox in it, which that group may write to."""
    box.parent.chmod(0o2775)
    os.chown(box.parent, -1, 8)
    box.write_bytes(THEIRS)
    os.chown(box, -1, 8)
    box.chmod(0o660)
    append(box, mail(1))
    assert len(found(box)) == 2
    assert stat.S_IMODE(box.stat().st_mode) == 0o660
    # Of another group it is not: that one may not put another file in its place.
    os.chown(box, -1, 9)
    refused(box, "others may write to it")


@pytest.mark.parametrize(
    ("folder", "file", "fits"), [(0o775, 0o664, True), (0o755, 0o664, False), (0o775, 0o666, False)]
)
def test_a_group_may_write_where_it_may_put_another_file(folder: int, file: int, *, fits: bool) -> None:
    def status(mode: int) -> os.stat_result:
        return os.stat_result((mode, 1, 1, 1, os.geteuid(), 1000, 0, 0, 0, 0))

    assert (objection_to("x", status(stat.S_IFREG | file), status(stat.S_IFDIR | folder)) == "") == fits


def test_a_lock_file_that_another_user_made_is_not_taken_away(box: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    from maildrops import FastClock  # noqa: PLC0415 - the one test that waits

    box.write_bytes(THEIRS)
    lock = Path(f"{box}.lock")
    lock.write_text(f"pop3fast 1 {os.uname().nodename}\n")
    os.chown(lock, NOBODY, NOBODY)
    with pytest.raises(DestinationError, match="has been there"):
        open_destination(f"mbox:{box}", clock=FastClock()).open()
    assert lock.exists()


@only_root
def test_a_state_that_another_user_forged_is_not_believed(box: Path) -> None:
    """In a folder where everybody may make files no state is kept, for SQLite makes and takes away files beside it."""
    messages = [(b"1", mail(1))]
    fetch(f"mbox:{box}", str(box.with_name("forged")), messages)
    box.unlink()
    box.parent.chmod(0o1777)
    os.chown(box.with_name("forged"), NOBODY, NOBODY)
    with pytest.raises(StateError, match=r"others may make files in the folder .*keep it elsewhere"):
        fetch(f"mbox:{box}", str(box.with_name("forged")), messages)
    box.parent.chmod(0o755)
    with pytest.raises(StateError, match=f"user {NOBODY} owns it"):
        fetch(f"mbox:{box}", str(box.with_name("forged")), messages)
    assert not box.exists()


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal", ".lock", ".7b711de5.lock"])
@pytest.mark.parametrize("how", ["link", "hard link", "writable", "folder"])
def test_every_file_of_a_state_is_this_users_alone(box: Path, tmp_path: Path, suffix: str, how: str) -> None:
    state = box.with_name("state")
    other = tmp_path / "other"
    fetch(f"mbox:{box}", str(state), [(b"1", mail(1))])
    path = Path(f"{state}{suffix}")
    if suffix == ".7b711de5.lock":
        (path,) = box.parent.glob("state.*.lock")
    if path.exists():
        path.rename(other)
    else:
        other.write_bytes(b"")
    if how == "link":
        path.symlink_to(other)
    elif how == "hard link":
        path.hardlink_to(other)
    elif how == "folder":
        path.mkdir()
    else:
        other.rename(path)
        path.chmod(0o666)
    before = box.read_bytes()
    with pytest.raises(StateError, match=r"symbolic link|hard links|others may write|not a file|Is a directory"):
        fetch(f"mbox:{box}", str(state), [(b"2", mail(2))])
    assert box.read_bytes() == before


def test_no_state_is_kept_where_everybody_may_make_files_and_nothing_is_left_there(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    with pytest.raises(StateError, match=f"others may make files in the folder {folder}"):
        State(f"{folder}/state")
    assert [*folder.iterdir()] == []
    folder.chmod(0o775)
    State(f"{folder}/state")


@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_state_that_is_exchanged_while_it_is_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "other").mkdir()
    for name in ("mine", "other"):
        State(f"{tmp_path}/{name}/state")
    connect = sqlite3.connect

    def exchanged(path: str, **how: object) -> sqlite3.Connection:
        there = tmp_path / "mine" / ("state" if what == "file" else "")
        there.rename(tmp_path / "away")
        (tmp_path / "other" / ("state" if what == "file" else "")).rename(there)
        return connect(path, **how)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr("pop3fast.fetch.memory._state_schema.sqlite3.connect", exchanged)
    with pytest.raises(StateError, match="somebody put another file or folder in its place"):
        State(f"{tmp_path}/mine/state")


def test_what_sqlite_makes_beside_its_own_is_all_that_is_checked(tmp_path: Path) -> None:
    with State(f"{tmp_path}/state").account("h", 110, "me") as account:
        account.note_maildrop(b"x")
        made = {path.name.removeprefix("state") for path in tmp_path.iterdir()}
    assert made - {".lock", f".{account.digest}.lock"} <= {*state_files.BESIDE}
