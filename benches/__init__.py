"""The benchmarks: pop3fast beside poplib, the best pure Python, and a loop that only receives.

``pytest benches`` runs them with pytest-benchmark; ``python -m benches`` runs them and writes the tables of the
documentation. Each module owns one step: `mail` what is retrieved, `sessions` who retrieves it, `interleave` how it is
measured, the ``test_*`` modules what is set against what, `report` what the measurements mean. Times are never
asserted: a benchmark fails only when it does not work.
"""
