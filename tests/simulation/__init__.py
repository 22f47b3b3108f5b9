"""A simulation of everything around a fetch, under one seed: the promises of fetching as invariants.

Owns the world that the real code runs in: `world` (chance, time, death), `mails` (what the senders know), `server`,
`line`, `disk`, `strangers` (whose files they are), `database` and `postgres` (what remembers), `states` (what is
remembered), `places` (destinations, and the mail programs that work on them), `far` and `own` (further destinations),
`surroundings` (what stands for the world), `turns` (of a fleet), `promises` (the invariants), `play` (one seed) and
`planted` (faults that it has to find). Nothing in here decides what a fetch does, and nothing waits.
``python -m tests.simulation --seed N`` replays a seed.
"""
