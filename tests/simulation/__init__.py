"""A simulation of everything around a fetch, under one seed: the promises of fetching as invariants.

Owns the world that the real code runs in: `world` (chance, time, death), `mails` (what the senders know), `server`,
`line`, `disk`, `database` and `postgres` (what remembers), `states` (what is remembered), `turns` (of a fleet),
`programs` (mail programs), `promises` (the invariants) and `play` (one seed). Nothing in here decides what a fetch
does, and nothing waits. ``python -m tests.simulation --seed N`` replays a seed.
"""
