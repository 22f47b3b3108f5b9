"""Memory of the asyncio client, in processes of its own: bounded, however slow the consumer, however large the mail."""

import subprocess
import sys

from peaks import PEAK
from pop3fast.testing import MailboxServer

# So much may come and go: the interpreter's own heap, and 2 MiB that are received ahead of time, some of them twice.
MOST_KIB = 16 * 1024

PROGRAM = """
import asyncio, sys
from pop3fast import aio

async def main():
    url = f"pop3+plain://127.0.0.1:{sys.argv[1]}"
    async with aio.connect(url, user="user", password="password") as pop:
        print(await retrieve(pop))

"""

SLOW = """
async def retrieve(pop):
    async for message in pop.retr_many(range(1, 200)):
        pass
    before, octets = peak(), 0
    async for message in pop.retr_many():
        octets += message.octets
        if message.number % 500 == 0:
            await asyncio.sleep(0.05)
    assert octets == 6_000 * 50_000, octets
    return peak() - before

asyncio.run(main())
"""

LARGE = """
async def retrieve(pop):
    async for piece in pop.retr_pieces([1]):
        pass
    before, octets = peak(), 0
    async for piece in pop.retr_pieces([2]):
        octets += len(piece.content)
        if octets == len(piece.content):
            await asyncio.sleep(1)  # in which a server that is not stopped sends most of the rest
    assert octets == 200 * 2**20, octets
    return peak() - before

asyncio.run(main())
"""


def growth(program: str, server: MailboxServer) -> int:
    """Return by how many KiB the peak of memory grew while *program* retrieved."""
    command = [sys.executable, "-c", PEAK + PROGRAM + program, str(server.port)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout)


def test_memory_does_not_grow_however_slow_the_consumer_of_a_loop() -> None:
    with MailboxServer([b"x" * 49_998 + b"\r\n"] * 6_000, process=True) as server:
        assert growth(SLOW, server) < MOST_KIB


def test_memory_does_not_grow_with_the_size_of_a_message_in_pieces() -> None:
    line = b"x" * 1022 + b"\r\n"
    with MailboxServer([line * 2**13, line * 200 * 2**10], process=True) as server:
        assert growth(LARGE, server) < MOST_KIB
