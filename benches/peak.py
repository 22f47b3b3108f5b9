"""``python -m benches.peak METHOD HOST PORT USER PASSWORD``: how far memory rises while one message is retrieved.

A program of its own, because the peak of a process is that of all it has done. Prints the octets, and the seconds
that it took. Linux only: the peak is read, and set back, in ``/proc``.
"""

import os
import poplib
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pop3fast


def main(method: str, host: str, port: str, user: str, password: str) -> None:
    """Retrieve message 2 by *method*. Message 1, which is small, has had everything loaded before."""
    with Path(os.devnull).open("wb", buffering=0) as sink, pop3fast.POP3(host, int(port)) as fast:
        theirs = poplib.POP3(host, int(port))
        methods: dict[str, Callable[[int], object]] = {
            "poplib": theirs.retr,
            "retr": fast.retr,
            "retr_bytes": fast.retr_bytes,
            "retr_into": lambda number: fast.retr_into(number, sink),
        }
        retrieve = methods[method]
        for session in (theirs, fast):
            session.user(user)
            session.pass_(password)
        retrieve(1)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is now what is used now
        before = _octets("VmRSS")
        start = time.perf_counter()
        result = retrieve(2)  # kept until the peak has been read
        seconds = time.perf_counter() - start
        print(_octets("VmHWM") - before, seconds)
        del result
        theirs.quit()


def _octets(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise LookupError(f"/proc/self/status has no {field}")


if __name__ == "__main__":
    main(*sys.argv[1:])
