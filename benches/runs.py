"""One run of one program: seconds on the clock, seconds of processor with what it starts, and peak memory.

Owns how these are read off, which is by time(1).
"""

import os
import pwd
import subprocess
from dataclasses import dataclass

from benches.contestants import Maildrop, Program

LONGEST_RUN = 180.0
"""Whoever is not there by then, in seconds, is said to have failed."""

TIME = "/usr/bin/time"


class FailedError(Exception):
    """A program did not do what it was asked to."""


@dataclass(frozen=True)
class Run:
    """What one run of one program took."""

    seconds: float
    processor: float
    octets: int
    """The greatest amount of memory that it, or a program that it started, had at once."""


def run(program: Program, drop: Maildrop, longest: float = LONGEST_RUN) -> Run:
    """Run *program*, for so many seconds at *longest*. Raises `FailedError`, and what ``subprocess`` raises."""
    command = program.command(drop)
    os.sync()  # what the one before left to be written is not this one's work
    environment = {
        "HOME": str(drop.home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "POP3FAST_PASSWORD": drop.password,
    }
    log, usage = drop.home / "log", drop.home / "usage"
    user = group = None
    if program.not_as_root and os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        user, group = nobody.pw_uid, nobody.pw_gid
        for path in (drop.home, *drop.home.rglob("*")):
            os.chown(path, user, group)
    with log.open("wb") as output:
        # A child's own peak, as the kernel counts it, begins with what its parent had: time(1) is a small parent.
        done = subprocess.run(
            [TIME, "--quiet", "--output", str(usage), "--format", "%e %U %S %M", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            user=user,
            group=group,
            extra_groups=None if group is None else [],
            timeout=longest,
            check=False,
        )
    if done.returncode:
        said = log.read_text("utf-8", "backslashreplace")
        raise FailedError(f"{program.name} ended with {done.returncode}: {said[-500:]}")
    elapsed, in_user, in_system, kib = map(float, usage.read_text("ascii").split())
    return Run(elapsed, in_user + in_system, int(kib) * 1024)
