"""`s3:` and its kin: each message one object, the same one each time, and read back before it is deleted."""

import asyncio
import gzip
import json
import os
import re
import sys
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from maildrops import Maildrop, account_of, mail
from pop3fast.fetch import DestinationError, FetchReport, Identity, fetch_mailbox
from pop3fast.fetch.destinations import _bucket, _objects, _together
from pop3fast.fetch.destinations._kinds import open_destination
from pop3fast.fetch.memory._state import State
from scripted import ScriptedServer
from shapes import GREETING
from stores import DENIED, LOST, SLOW_DOWN, STORES, Answer, Asked, Store


def dated(number: int, second: int) -> bytes:
    return b"Received: by x; Wed, 25 Nov 2026 10:00:%02d +0100\r\n" % second + mail(number)


MAILS = [(b"u%d" % number, dated(number, 40 - number)) for number in range(1, 5)]


@pytest.fixture(scope="module", params=STORES)
def one_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Yield the store of one cloud after the other; what holds for one holds for each."""
    with STORES[request.param]() as store:
        yield store


@pytest.fixture
def store(one_store: Store) -> Store:
    one_store.reset()
    return one_store


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for each in STORES.values():
        for name, value in each.variables.items():
            monkeypatch.setenv(name, value)
    # A store that is down for good is not waited for.
    monkeypatch.setattr(_bucket, "ASK_AGAIN", 2)


def fetch(server: ScriptedServer, url: str, *, delete: bool = False, state: Path | None = None) -> FetchReport:
    return fetch_mailbox(account_of(server), url, delete=delete, state=state)


def test_each_message_is_one_object_and_their_names_sort_as_they_were_received(
    server: ScriptedServer, store: Store
) -> None:
    assert fetch(server, store.url()).fetched == 4
    assert [*store.mail().values()] == [content for _, content in reversed(MAILS)]
    assert all(name.startswith("archive/20261125T0900") and name.endswith(".eml") for name in store.mail())


def test_what_a_state_has_lost_is_delivered_to_the_same_objects(
    server: ScriptedServer, store: Store, tmp_path: Path
) -> None:
    fetch(server, store.url(), state=tmp_path / "one.sqlite")
    before = store.objects()
    assert fetch(server, store.url(), state=tmp_path / "two.sqlite").fetched == 4
    assert store.objects() == before


def test_messages_alike_and_without_unique_ids_are_objects_of_their_own(store: Store) -> None:
    drop = Maildrop(*[(b"", dated(1, 1))] * 3)
    with ScriptedServer(GREETING, drop) as server:
        assert fetch(server, store.url(), delete=True).deleted == 3
        assert [*store.mail().values()] == [dated(1, 1)] * 3
    assert drop.messages == []


def test_an_index_says_what_a_batch_consists_of(server: ScriptedServer, store: Store) -> None:
    fetch(server, store.url())
    [index] = [octets for name, octets in store.objects().items() if "/index/" in name]
    rows = [json.loads(line) for line in index.splitlines()]
    assert [f"archive/{row['object']}" for row in rows] == [*store.mail()]
    assert {(row["uid"], row["octets"]) for row in rows} == {(uid.decode(), len(content)) for uid, content in MAILS}


@pytest.mark.parametrize("damage", [b"something else", None, MAILS[3][1] + b"more\r\n", gzip.compress(b"x" * 10**7)])
@pytest.mark.parametrize("compress", ["", "gzip", "zstd"])
def test_what_the_store_does_not_have_as_it_was_sent_is_not_deleted_and_is_named(
    server: ScriptedServer, drop: Maildrop, store: Store, damage: bytes | None, compress: str
) -> None:
    changed: list[str] = []

    def damaged(asked: Asked) -> Answer | None:
        if asked.method in {"HEAD", "GET"} and asked.name == min(store.mail(), default="") and not changed:
            changed.append(asked.name)
            store.change(asked.name, damage)
        return None

    store.fault = damaged
    report = fetch(server, store.url(compress=compress) if compress else store.url(), delete=True)
    assert changed
    assert (report.deleted, report.exit_status) == (3, 1)
    assert [content for _, content in drop.messages] == [MAILS[3][1]]


def test_a_large_message_goes_in_parts_and_is_read_back_by_its_octets(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_objects, "MEMORY_OCTETS", 1000)
    large = dated(9, 9) + b"".join(b"%060d\r\n" % number for number in range(100_000))
    drop = Maildrop((b"large", large))
    with ScriptedServer(GREETING, drop) as server:
        assert fetch(server, store.url(), delete=True).deleted == 1
    assert [*store.mail().values()] == [large]
    assert drop.messages == []
    assert "GET" in {asked.method for asked in store.asked}


def test_a_checksum_is_believed_and_where_a_store_gives_none_of_the_content_the_octets_are_read_back(
    server: ScriptedServer, store: Store
) -> None:
    assert fetch(server, store.url(), delete=True).deleted == 4
    methods = [asked.method for asked in store.asked if asked.name.endswith(".eml")]
    how = "GET" if store.scheme == "az" else "HEAD"
    assert sorted(methods) == sorted(["PUT", how] * 4)


@pytest.mark.parametrize("compress", ["gzip", "zstd"])
@pytest.mark.parametrize("most", [_objects.MEMORY_OCTETS, 0])
def test_what_is_packed_is_the_same_object_each_time(
    server: ScriptedServer, store: Store, compress: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_objects, "MEMORY_OCTETS", most)
    assert fetch(server, store.url(compress=compress), state=tmp_path / "one.sqlite").fetched == 4
    before = store.mail()
    assert fetch(server, store.url(compress=compress), state=tmp_path / "two.sqlite", delete=True).deleted == 4
    assert store.mail() == before
    assert all(name.endswith({"gzip": ".eml.gz", "zstd": ".eml.zst"}[compress]) for name in before)
    if compress == "gzip":
        assert {gzip.decompress(octets) for octets in before.values()} == {content for _, content in MAILS}


@pytest.mark.parametrize("fault", [SLOW_DOWN, LOST])
@pytest.mark.parametrize("method", ["PUT", "HEAD"])
def test_a_store_that_is_busy_or_loses_an_answer_is_asked_again(
    server: ScriptedServer, drop: Maildrop, store: Store, fault: Answer, method: str
) -> None:
    store.fault = lambda asked: fault if asked.method == method and not asked.nth else None
    report = fetch(server, store.url(), delete=True)
    assert (report.fetched, report.deleted, report.exit_status) == (4, 4, 0)
    assert sorted(store.mail().values()) == sorted(content for _, content in MAILS)
    assert drop.messages == []


def test_of_a_batch_what_the_store_took_is_remembered_and_the_rest_comes_again(
    server: ScriptedServer, drop: Maildrop, store: Store
) -> None:
    refused: list[str] = []

    def one(asked: Asked) -> Answer | None:
        if asked.method == "PUT" and not refused:
            refused.append(asked.name)
        return DENIED if asked.name in refused else None

    store.fault = one
    report = fetch(server, store.url(), delete=True)
    assert isinstance(report.error, DestinationError)
    assert report.error.reason == "the store does not allow it (AccessDenied)"
    assert len(store.mail()) == 3
    store.fault = lambda _: None
    assert fetch(server, store.url(), delete=True).fetched == 1
    assert len(store.mail()) == 4
    assert drop.messages == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (SLOW_DOWN, "the store takes no more requests now (SlowDown)"),
        (DENIED, "the store does not allow it (AccessDenied)"),
        (Answer("404 Not Found", "NoSuchBucket"), "there is no such bucket"),
        (Answer("403 Forbidden", "SignatureDoesNotMatch"), "the secret key is wrong (SignatureDoesNotMatch)"),
        (Answer("507 Insufficient Storage", "DiskFull"), "the store answered DiskFull"),
        (LOST, "the store does not answer: look at the endpoint, and at the network"),
    ],
)
def test_a_store_that_takes_nothing_ends_the_fetch_in_one_sentence_and_nothing_is_deleted(
    server: ScriptedServer, drop: Maildrop, store: Store, answer: Answer, words: str
) -> None:
    store.fault = lambda asked: answer if asked.method == "PUT" else None
    report = fetch(server, store.url(), delete=True)
    assert isinstance(report.error, DestinationError)
    assert (report.error.reason, report.exit_status, report.fetched) == (words, 5, 0)
    assert "secret-key" not in str(report.error)
    assert len(drop.messages) == 4


def test_without_credentials_it_is_said_which_variables_are_missing() -> None:
    error = _bucket.store_error("s3://b/p", "write to", RuntimeError("no Credentials in ... http://169.254.169.254/"))
    assert "AWS_ACCESS_KEY_ID" in str(error)


def test_objects_of_one_batch_are_sent_side_by_side(store: Store) -> None:
    together = threading.Barrier(8, timeout=30)

    def wait(asked: Asked) -> Answer | None:
        if asked.method == "PUT" and "/index/" not in asked.name:
            together.wait()
        return None

    store.fault = wait
    with ScriptedServer(GREETING, Maildrop(*[(b"%d" % n, dated(n, n)) for n in range(8)])) as server:
        assert fetch(server, store.url()).fetched == 8


class Waiting:
    """Waits on an event loop for more rounds than a hurry needs to end it."""

    def __init__(self, together: _together.Together) -> None:
        self._together = together

    async def first(self) -> str:
        await asyncio.to_thread(self._together.hurry)
        return await self.rounds()

    async def rounds(self) -> str:
        for _ in range(20):
            await asyncio.sleep(0)
        return "nothing has ended it"


def test_a_hurry_ends_what_is_under_way_and_what_begins_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_together, "HURRY_SECONDS", 0.0)
    together = _together.Together()
    waiting = Waiting(together)
    together.begin()
    assert together.run([waiting.rounds()]) == ["nothing has ended it"]
    with pytest.raises(TimeoutError):
        together.run([waiting.first()])
    with pytest.raises(TimeoutError):
        together.run([waiting.rounds()])
    together.begin()
    assert together.run([waiting.rounds()]) == ["nothing has ended it"]


def test_a_person_who_wants_to_stop_waits_for_no_store(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_together, "HURRY_SECONDS", 0.0)
    go_on = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    bounded = _together.Together._bounded

    async def seen(self: _together.Together, work: Sequence[Coroutine[Any, Any, object]]) -> list[object]:
        loops.append(asyncio.get_running_loop())
        return await bounded(self, work)

    def answer_after(rounds: int) -> None:
        if rounds:
            loops[-1].call_soon(answer_after, rounds - 1)
        else:
            go_on.set()

    def hang(_: Asked) -> Answer | None:
        destination.hurry()
        with suppress(RuntimeError):  # it has ended, and its loop with it
            # Behind what a hurry could have asked for: there is an answer only if it has ended nothing.
            loops[-1].call_soon_threadsafe(answer_after, 20)
        go_on.wait(50)
        return None

    monkeypatch.setattr(_together.Together, "_bounded", seen)
    store.fault = hang
    destination = open_destination(store.url())
    with State(tmp_path / "state.sqlite").account("host", 110, "user") as account:
        destination.prepare(account.digest, account)
    delivery = destination.begin(Identity(b"u1"))
    delivery.write(MAILS[0][1])
    delivery.end()
    with pytest.raises(DestinationError, match="interrupted"):
        destination.flush()
    go_on.set()
    destination.close()


def test_a_folder_of_objects_is_synced_with_its_names(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("obstore")
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert fetch(server, f"file://{tmp_path}/objects", delete=True).deleted == 4
    written = [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]
    assert len(written) == 5
    assert {*map(str, written), f"{tmp_path}/objects", f"{tmp_path}/objects/index"} <= set(synced)


def test_what_is_in_a_folder_of_objects_when_a_hurry_ends_the_rest_is_synced_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("obstore")
    synced: list[str] = []
    written: list[str] = []
    one_is_there = asyncio.Event()
    real, put = os.fsync, _objects.Objects._put

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    async def put_the_first(objects: _objects.Objects, name: str, octets: bytes) -> str:
        if "index/" in name or octets == MAILS[0][1]:
            place = await put(objects, name, octets)
            written.append(name)
            one_is_there.set()
            return place
        await one_is_there.wait()
        # The time that a hurry leaves is over.
        assert objects._together._under_way is not None
        objects._together._under_way[1].reschedule(asyncio.get_running_loop().time())
        return await asyncio.Future[str]()

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(_objects.Objects, "_put", put_the_first)
    destination = open_destination(f"file://{tmp_path}/objects")
    with State(tmp_path / "state.sqlite").account("host", 110, "user") as account:
        destination.prepare(account.digest, account)
    for uid, content in MAILS[:2]:
        delivery = destination.begin(Identity(uid))
        delivery.write(content)
        delivery.end()
    with pytest.raises(DestinationError, match="interrupted") as raised:
        destination.flush()
    destination.close()
    assert [entry.uid for entry in raised.value.delivered] == [b"u1"]
    assert f"{tmp_path}/objects/{written[0]}" in synced


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_each_cloud_is_made_from_its_url(scheme: str) -> None:
    pytest.importorskip("obstore")
    query = "?account=me" if scheme == "az" else ""
    assert _bucket.parse_bucket(f"{scheme}://name/a/b{query}").store().prefix == "a/b"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3:bucket", "an object store is s3://BUCKET/PREFIX"),
        ("s3:///prefix", "an object store is s3://BUCKET/PREFIX"),
        ("s3://b/p#x", "an object store is s3://BUCKET/PREFIX"),
        ("gs://", "an object store is gs://BUCKET/PREFIX"),
        ("az:///prefix", "an object store is az://CONTAINER/PREFIX"),
        ("file://host/x", "a folder of objects is file:///PATH"),
        ("file:///", "a folder of objects is file:///PATH"),
        ("s3://b/p?secret=x", "its options are endpoint, region, compress, each once"),
        ("s3://b/p?account=x", "its options are endpoint, region, compress"),
        ("gs://b/p?region=x", "its options are endpoint, compress"),
        ("az://b/p?region=x", "its options are account, endpoint, compress"),
        ("file:///p?endpoint=x", "its options are compress"),
        ("s3://b/p?region=a&region=b", "each once"),
        ("s3://b/p?compress=rar", "compress= is gzip or zstd"),
        ("s3://key:hidden@b/p", "keys do not belong in a URL"),
        ("s3://b/p/../q", "a . or .. between slashes"),
        ("s3://[b/p", "no URL of an object store"),
    ],
)
def test_a_url_that_makes_no_sense_is_answered_with_what_does_and_not_quoted(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as raised:
        open_destination(url)
    assert "hidden" not in str(raised.value)


def test_without_the_extra_the_command_to_install_it_is_named(
    server: ScriptedServer, drop: Maildrop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    report = fetch(server, "s3://bucket/prefix", delete=True)
    assert report.exit_status == 5
    assert "pip install 'pop3fast[objects]'" in str(report.error)
    assert len(drop.messages) == 4


def test_what_a_later_session_deletes_is_read_back_and_what_was_moved_counts_as_delivered(
    server: ScriptedServer, drop: Maildrop, store: Store
) -> None:
    fetch(server, store.url())
    first, second, *_ = [*store.mail()]
    store.change(first, None)
    store.change(second, b"other")
    report = fetch(server, store.url(), delete=True)
    assert [content for _, content in drop.messages] == [MAILS[2][1]]
    assert report.exit_status == 1
