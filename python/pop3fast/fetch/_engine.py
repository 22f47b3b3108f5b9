"""The name under which programs that fetch in surroundings of their own found `_retrying` before; nothing else."""

from pop3fast.fetch._retrying import Job, Surroundings, run_job

__all__ = ["Job", "Surroundings", "run_job"]
