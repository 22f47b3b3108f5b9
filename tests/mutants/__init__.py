"""Mutation runs: small faults are planted in the code one by one, and the tests have to find each.

``changes`` makes the faults, ``rooms`` says which tests are to find those of which module, ``cover`` learns which test
reaches which line, ``run`` plants and looks, ``__main__`` has the words. No test imports any of it.
"""
