"""pop3fast on an event loop: the same names, awaited; the same rules, because they are the same code.

A session, and all its messages::

    from pop3fast import aio

    async with aio.connect("pop3s://user@mail.example.org", password="password") as pop:
        async for message in pop.retr_many():
            ...
"""

from pop3fast.aio._bulk_loop import Loop
from pop3fast.aio._client import POP3
from pop3fast.aio._connect import Connecting, connect
from pop3fast.aio._fetch_many import fetch_many
from pop3fast.aio._process_many import process_many

__all__ = ["POP3", "Connecting", "Loop", "connect", "fetch_many", "process_many"]
