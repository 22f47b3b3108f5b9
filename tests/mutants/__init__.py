"""Mutation runs: small faults are planted in the code one by one, and the tests have to find each.

``changes`` makes the faults, ``rooms`` says which tests have to find the faults of which module, ``worker`` runs tests
and learns which of them reach which lines, ``run`` plants the faults, ``__main__`` has the words. No test imports them.
"""
