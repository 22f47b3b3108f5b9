"""Which modules are to be trusted most, and which tests are to find every fault in them.

Owns the groups. A fault is looked for by the tests of its group that reach its line. Left
out are test files of whose time most goes by in other processes or in waiting.
"""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "python" / "pop3fast"


@dataclass(frozen=True)
class Group:
    """Modules, and the test files that are to find what is wrong with them."""

    rooms: tuple[str, ...]
    tests: tuple[str, ...]

    @property
    def files(self) -> list[str]:
        """The paths of the test files, relative to the checkout."""
        return [f"tests/{name}.py" for name in self.tests]


GROUPS = {
    "bulk": Group(
        (
            "_pipeline",
            "_kept_back",
            "_doubted_size",
            "_set_aside",
            "_late_acknowledgements",
            "_proof",
            "_batch",
            "_bulk_loop",
            "_conversation",
        ),
        (
            "test_pipeline",
            "test_pipeline_doubt",
            "test_late_acknowledgements",
            "test_bulk",
            "test_bulk_broken",
            "test_bulk_pieces",
            "test_listings",
            "test_alone_in_flight",
            "test_small_buffers",
            "test_client",
            "test_stls",
            "test_quirks",
        ),
    ),
    "ahead": Group(("_ahead", "_asking"), ("test_read_ahead", "test_read_ahead_broken")),
    "stream": Group(("_stream", "_session"), ("test_stream", "test_acknowledging", "test_every_octet", "test_client")),
    "login": Group(
        ("_login", "_authorization"),
        ("test_login", "test_secrets", "test_secrets_login", "test_stls", "test_quirks", "test_client"),
    ),
    "plan": Group(
        ("fetch/_plan", "fetch/_doubt", "fetch/_listing", "fetch/_identity"),
        (
            "test_fetch_plan",
            "test_fetch_doubt",
            "test_fetch_short",
            "test_fetch_mailbox",
            "test_fetch_deleting",
            "test_simulation",
        ),
    ),
    "run": Group(
        (
            "fetch/_session",
            "fetch/_delivering",
            "fetch/_retrieval",
            "fetch/_inquiry",
            "fetch/_deleting",
            "fetch/_run",
            "fetch/_portions",
        ),
        (
            "test_fetch_plan",
            "test_fetch_mailbox",
            "test_fetch_deleting",
            "test_fetch_doubt",
            "test_fetch_out_of_step",
            "test_fetch_short",
            "test_fetch_sizes",
            "test_fetch_trouble",
            "test_simulation",
        ),
    ),
    "memory": Group(
        (
            "fetch/memory/_age",
            "fetch/_sizes",
            "fetch/memory/_seen",
            "fetch/memory/_state",
            "fetch/memory/_state_rows",
            "fetch/memory/_state_intents",
            "fetch/memory/_state_attempts",
        ),
        ("test_fetch_state", "test_fetch_import_seen", "test_fetch_sizes", "test_fetch_plan", "test_simulation"),
    ),
    "waits": Group(
        ("fetch/_patience", "fetch/accounts/_hosts"), ("test_fetch_limits", "test_fetch_many", "test_fetch_trouble")
    ),
    "folders": Group(
        (
            "fetch/destinations/_folder",
            "fetch/destinations/_folder_index",
            "fetch/destinations/_read_early",
            "fetch/destinations/_sync",
            "fetch/_files",
        ),
        (
            "test_fetch_files",
            "test_fetch_maildir",
            "test_fetch_destinations",
            "test_fetch_destinations_model",
            "test_fetch_destinations_told",
            "test_fetch_read_back",
            "test_fetch_descriptors",
            "test_fetch_ownership",
            "test_simulation",
        ),
    ),
    "mboxes": Group(
        (
            "fetch/destinations/_mbox",
            "fetch/destinations/_mbox_delivery",
            "fetch/destinations/_mbox_journal",
            "fetch/destinations/_mbox_read_back",
            "fetch/destinations/_mbox_search",
            "fetch/destinations/_mboxrd",
            "fetch/destinations/_spool",
        ),
        (
            "test_fetch_mbox",
            "test_fetch_mbox_rewritten",
            "test_fetch_destinations",
            "test_fetch_destinations_model",
            "test_fetch_destinations_told",
            "test_fetch_read_back",
            "test_simulation",
        ),
    ),
    "writer": Group(
        ("fetch/_writer", "fetch/_receipts"),
        (
            "test_fetch_writer",
            "test_fetch_destinations_told",
            "test_fetch_mailbox",
            "test_fetch_trouble",
            "test_simulation",
        ),
    ),
}

NOT_ASKED = ("tests/test_simulation.py::test_a_fault_that_is_planted_is_found",)
"""Tests that fail because a line is not what it was, whatever it does now."""


def module(room: str) -> Path:
    """Return the file of *room*, relative to the checkout."""
    return (PACKAGE / f"{room}.py").relative_to(ROOT)
