"""A worker of a fleet in a process: ``python fleet_worker.py STATE PORT FOLDER EVERY LIMIT PER_HOST USER...``.

It goes on until SIGTERM, and ends with 0 then. Owns no test.
"""

import asyncio
import signal
import sys

from pop3fast.fetch import Account, fetch_fleet


async def work(state: str, port: str, folder: str, every: str, limit: str, per_host: str, *users: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    accounts = [Account(f"pop3+plain://127.0.0.1:{port}", user=user, password="password", timeout=30) for user in users]
    async for report in fetch_fleet(
        accounts,
        lambda account: f"maildir:{folder}/{account.login}",
        state=state,
        every=float(every),
        limit=int(limit),
        per_host=int(per_host),
        stop=stop,
    ):
        print(report.account, report.fetched, repr(report.error), flush=True)


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
