"""Fetches in children that are going to be killed; a program for `test_fetch_killed.py`.

Reads one line of JSON a fetch (URL, destination, whether to delete, the step to be killed before, whether on an event
loop), forks, and writes the child's process id and then how it ended. It has one thread, so that forking is safe.
"""

import json
import os
import signal
import sys
from collections.abc import Iterable

from fetching import CountedFiles, fetched_on_a_loop
from pop3fast.fetch import Account, Entry, Options
from pop3fast.fetch._retrying import Job, Surroundings, run_job
from pop3fast.fetch.memory._account_state import AccountState


def fetch(url: str, destination: str, place: int, *, delete: bool, on_a_loop: bool) -> int:
    def before(step: int, _: str) -> None:
        if step == place:
            os.kill(os.getpid(), signal.SIGKILL)

    files = CountedFiles(before)
    remember = AccountState.remember

    def remember_in_steps(memory: AccountState, entries: Iterable[Entry]) -> None:
        files.step("flushed")
        remember(memory, entries)
        files.step("remembered")

    AccountState.remember = remember_in_steps  # type: ignore[assignment, method-assign]
    account = Account(url, password="password", timeout=20)
    options = Options(delete=delete, checkpoint_messages=10)
    do = fetched_on_a_loop if on_a_loop else run_job
    return do(Job(account, destination, None, options), Surroundings(files=files)).exit_status


def main() -> None:
    for line in sys.stdin:
        url, destination, delete, place, on_a_loop = json.loads(line)
        child = os.fork()
        if not child:
            status = 99
            try:
                status = fetch(url, destination, place, delete=delete, on_a_loop=on_a_loop)
            finally:
                os._exit(status)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
