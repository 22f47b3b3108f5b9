"""The calls of the operating system, each as it is made: the simulation, and most tests, bring calls of their own."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pop3fast.fetch._files import Files

FILES = Files()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = FILES.open_parent(str(tmp_path))
    yield descriptor
    FILES.close(descriptor)


def test_what_the_system_writes_or_reads_in_part_is_written_and_read_whole(
    folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, read = os.write, os.pread
    monkeypatch.setattr(os, "write", lambda file, octets: write(file, octets[:7]))
    monkeypatch.setattr(os, "pread", lambda file, count, offset: read(file, min(count, 5), offset))
    content = bytes(range(100))
    file = FILES.create("file", folder)
    FILES.write(file, content)
    assert (tmp_path / "file").read_bytes() == content
    assert FILES.read(file, 1000, 10) == content[10:]
    assert FILES.read(file, 12, 10) == content[10:22]
    FILES.close(file)


def test_what_is_written_again_lies_where_it_lay_and_the_file_is_appended_to_on(
    folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, octets, offset: write(file, octets[:3], offset))
    file = FILES.create("file", folder)
    FILES.write(file, b"0123456789")
    FILES.close(file)
    file = FILES.open_to_append("file", folder)
    FILES.rewrite(file, b"abcdefg", 2)
    FILES.write(file, b"more")
    assert (tmp_path / "file").read_bytes() == b"01abcdefg9more"
    FILES.close(file)


def test_what_is_to_be_durable_is_synced(folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    file = FILES.create("file", folder)
    FILES.sync(file)
    FILES.sync_folder(folder)
    assert synced == [file, folder]
    FILES.close(file)


def test_a_new_file_or_folder_is_its_owner_s_alone_and_never_one_that_is_there(folder: int, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        file = FILES.create("file", folder)
        FILES.make_folder("folder", folder)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "folder")] == [0o600, 0o700]
    FILES.write(file, b"first")
    FILES.write(file, b"second")
    FILES.close(file)
    with pytest.raises(FileExistsError):
        FILES.create("file", folder)
    file = FILES.open_to_append("file", folder)
    FILES.write(file, b"third")
    assert FILES.read(file, 100, 0) == b"firstsecondthird"
    FILES.close(file)


def test_a_link_is_never_followed_and_a_pipe_never_waited_for(folder: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "inside").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder link").symlink_to("inside")
    os.mkfifo(tmp_path / "pipe")
    for attempt in (FILES.create, FILES.open_to_append, FILES.open_to_read):
        with pytest.raises(OSError, match="link"):
            attempt("link", folder)
    with pytest.raises(OSError, match="folder link"):
        FILES.open_folder("folder link", folder)
    assert stat.S_ISLNK(FILES.stat_name("link", folder).st_mode)
    FILES.link("link", folder, "second name", folder)
    assert (tmp_path / "second name").is_symlink()
    pipe = FILES.open_to_read("pipe", folder)
    assert not os.get_inheritable(pipe)
    FILES.close(pipe)
