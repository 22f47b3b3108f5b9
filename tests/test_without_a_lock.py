"""The extension does without CPython's global lock, and threads have each what is theirs, with it or without."""

import pytest

import without_a_lock


def test_threads_have_each_their_own() -> None:
    without_a_lock.sessions()
    without_a_lock.framers()


def test_a_framer_that_threads_fight_over_stays_whole() -> None:
    without_a_lock.one_framer()


def test_the_extension_does_not_bring_the_lock_back() -> None:
    if not (without_a_lock.is_without_a_lock() or without_a_lock.lock_is_back()):
        pytest.skip("this CPython always has its global lock")
    assert not without_a_lock.lock_is_back()
