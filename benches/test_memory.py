"""By how much memory grows at most while one large message is retrieved."""

import subprocess
import sys
from pathlib import Path

import pytest

from benches.interleave import BASELINE, MARKS, Benchmark, Column
from benches.mail import attachment
from pop3fast.testing import MailboxServer, RepeatedMessage

pytestmark = [
    *MARKS,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read in Linux's /proc"),
]

TABLE = "Peak memory"

INTO = "pop3fast, `retr_into()`"
METHODS = {
    BASELINE: "poplib",
    "pop3fast, `retr()`": "retr",
    "pop3fast, `retr_bytes()`": "retr_bytes",
    INTO: "retr_into",
}


@pytest.mark.parametrize("method", METHODS)
def test_peak_of_100_mb(method: str, benchmark: Benchmark, *, quick: bool) -> None:
    _measure("100 MB", 10_000_000 if quick else 100_000_000, method, benchmark)


def test_peak_of_1_gb(benchmark: Benchmark, *, quick: bool) -> None:
    _measure("1 GB", 100_000_000 if quick else 1_000_000_000, INTO, benchmark)


def _measure(title: str, octets: int, method: str, benchmark: Benchmark) -> None:
    """Let a program of its own retrieve a message that is nowhere in the server's memory as a whole."""
    block = attachment(100_000)
    large = RepeatedMessage(block, octets // len(block))
    with MailboxServer([block, large], process=True) as server:
        arguments = [METHODS[method], server.host, str(server.port), server.user, server.password]
        program = subprocess.run(
            [sys.executable, "-m", "benches.peak", *arguments],
            cwd=Path(__file__).parents[1],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    peak_octets, seconds = program.stdout.split()
    benchmark.extra_info["peak_octets"] = int(peak_octets)
    Column(TABLE, title, {method: [float(seconds)]}).hand_over(method, benchmark)
