"""A fetch as a worker of a fleet does it: the account is claimed, fetched with what the claim gives, and given back.

Owns nothing but that order. What a worker does when the state is lost, it does here: it asks again another time.
"""

import contextlib
from dataclasses import replace

from pop3fast.fetch import FetchReport, StateError
from pop3fast.fetch._retrying import Job, Surroundings, run_job
from pop3fast.fetch.memory._postgres_turns import PostgresTurns, Returned

PER_HOST = 8


def run_turn(job: Job, surroundings: Surroundings) -> FetchReport | None:
    """Have a turn of the account of *job*; return the report, None when it was not this worker's."""
    account = job.account
    with contextlib.closing(PostgresTurns(str(job.state), [(account.host, account.port, account.login)])) as turns:
        try:
            claims = turns.exchange([], 1, PER_HOST)
        except StateError:
            return None
        for claim in claims:
            try:
                return run_job(job, replace(surroundings, memory=turns.account(claim)))
            finally:
                # Who cannot say so has it until the lease ends.
                with contextlib.suppress(StateError):
                    turns.exchange([Returned(claim.lease, 0.0, 0.0, 0, 0, 0.0, None)], 0, PER_HOST)
    return None
