"""``python -m benches.mailboxes [--quick]``: many mailboxes with nothing new in them, far away, in one process.

Owns the comparison of `aio.fetch_many` with `fetch_many`, each as it is by default, in a process of its own. The server
has another one, and gives a mailbox of its own to every user. The threads fetch fewer mailboxes, whose time is scaled,
because they take minutes for all. No time makes it fail. Linux only, for the peak of memory.
"""

import argparse
import asyncio
import json
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypedDict

from pop3fast import aio
from pop3fast.fetch import Account, FetchReport, Job, fetch_many
from pop3fast.testing import CERTIFICATE

ROOT = Path(__file__).parent.parent
MAILBOXES = 1000
BY_THREADS = 136
"""Seventeen for each of the eight threads."""
LATENCY = 0.1
LIMIT = 100
MESSAGES = (b"Subject: one\r\n\r\nOne.\r\n", b"Subject: two\r\n\r\nTwo.\r\n")
REPLIES = {
    b"CAPA": b"+OK\r\nUSER\r\nUIDL\r\nTOP\r\nPIPELINING\r\n.\r\n",
    b"STAT": b"+OK %d %d\r\n" % (len(MESSAGES), sum(map(len, MESSAGES))),
    b"UIDL": b"+OK\r\n1 first\r\n2 second\r\n.\r\n",
    b"LIST": b"+OK\r\n%b.\r\n" % b"".join(b"%d %d\r\n" % (n, len(each)) for n, each in enumerate(MESSAGES, 1)),
    **{b"RETR %d" % n: b"+OK\r\n%b.\r\n" % each for n, each in enumerate(MESSAGES, 1)},
}
GOAL_TIMES, GOAL_BYTES = 10, 200 * 10**6


class Taken(TypedDict):
    """What one way of fetching took."""

    seconds: float
    peak: int
    fetched: int
    seen: int


def main() -> int:
    """Measure, print, and return 0; or be the process that fetches."""
    parser = argparse.ArgumentParser(prog="python -m benches.mailboxes")
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--serve", type=float, metavar="SECONDS")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--fetch", nargs=4, metavar=("WAY", "PORT", "FOLDER", "MAILBOXES"))
    arguments = parser.parse_args()
    if arguments.serve is not None:
        asyncio.run(_serve(arguments.serve, tls=arguments.tls))
    if arguments.fetch:
        print(json.dumps(_fetch(*arguments.fetch)))
        return 0
    many, by_threads = (20, 8) if arguments.quick else (MAILBOXES, BY_THREADS)
    with served(LATENCY) as port, tempfile.TemporaryDirectory() as folder:
        where = (port, folder)
        first = _in_a_process("loop", *where, many)
        loop = _in_a_process("loop", *where, many)
        threads = _in_a_process("threads", *where, by_threads)
    if (first["fetched"], loop["seen"], threads["seen"]) != tuple(len(MESSAGES) * n for n in (many, many, by_threads)):
        raise SystemExit(f"not all was fetched, or more than once: {first}, {loop}, {threads}")
    ratio = threads["seconds"] * many / by_threads / loop["seconds"]
    print(
        f"{many:,} mailboxes with nothing new, {LATENCY * 1000:.0f} ms of round trip: aio.fetch_many (limit={LIMIT}) "
        f"{ratio:.1f} x fetch_many, of which {by_threads} were measured; peak memory {loop['peak'] / 1e6:.0f} MB. "
        f"Goals: {GOAL_TIMES} x {_reached(reached=ratio >= GOAL_TIMES)}, "
        f"{GOAL_BYTES / 1e6:.0f} MB {_reached(reached=loop['peak'] < GOAL_BYTES)}"
    )
    return 0


def _reached(*, reached: bool) -> str:
    return "reached" if reached else "NOT REACHED"


def _in_a_process(way: str, port: str, folder: str, mailboxes: int) -> Taken:
    command = [sys.executable, "-m", "benches.mailboxes", "--fetch", way, port, folder, str(mailboxes)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    taken: Taken = json.loads(done.stdout)
    return taken


def _fetch(way: str, port: str, folder: str, mailboxes: str) -> Taken:
    jobs = [
        Job(Account(f"pop3+plain://user{number}@127.0.0.1:{port}", password="password"), f"maildir:{folder}/{number}")
        for number in range(int(mailboxes))
    ]
    begin = time.perf_counter()
    reports = asyncio.run(_on_a_loop(jobs)) if way == "loop" else list(_checked(fetch_many(jobs)))
    seconds = time.perf_counter() - begin
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    fetched, seen = (sum(getattr(report, name) for report in reports) for name in ("fetched", "seen"))
    return {"seconds": seconds, "peak": peak, "fetched": fetched, "seen": seen}


async def _on_a_loop(jobs: list[Job]) -> list[FetchReport]:
    return list(_checked([report async for report in aio.fetch_many(jobs, limit=LIMIT)]))


def _checked(reports: Iterable[FetchReport]) -> Iterator[FetchReport]:
    for report in reports:
        report.raise_for_error()
        yield report


@contextmanager
def served(latency: float, *, tls: bool = False) -> Iterator[str]:
    """Have a server run in a process of its own, *latency* seconds away; give its port."""
    command = [sys.executable, "-m", "benches.mailboxes", "--serve", str(latency), *(["--tls"] if tls else [])]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


async def _serve(latency: float, *, tls: bool) -> None:
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
    server = await asyncio.start_server(partial(_converse, latency), "127.0.0.1", 0, backlog=1024, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _converse(latency: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer commands that came together a round trip later, together."""
    reply, line = b"+OK hi\r\n", b""
    while line != b"QUIT":
        await asyncio.sleep(latency)
        writer.write(reply)
        commands = (await reader.read(2**16)).splitlines()
        if not commands:
            break
        reply = b"".join(REPLIES.get(line := command, b"+OK\r\n") for command in commands)
    writer.write(reply)
    writer.close()


if __name__ == "__main__":
    raise SystemExit(main())
