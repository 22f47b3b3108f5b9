"""Which modules are to be trusted most, and which tests are to find every fault in them.

Owns the two lists, of the client and of fetch. A test file stands under each module whose promises it is about.
"""

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "python" / "pop3fast"

_BULK = ("test_pipeline", "test_bulk", "test_bulk_broken", "test_bulk_loop", "test_bulk_pieces", "test_listings")
_SESSION = ("test_client", "test_every_octet", "test_quirks", "test_turns", "test_stls", "test_every_command")
_LOGIN = ("test_login", "test_secrets", "test_secrets_login", "test_hostile", "test_stls", "test_quirks")
_FETCH = (
    "test_fetch_plan",
    "test_fetch_mailbox",
    "test_fetch_deleting",
    "test_fetch_trouble",
    "test_fetch_exactly_once",
    "test_fetch_state",
)
_PLACES = (
    "test_fetch_mailbox",
    "test_fetch_maildir",
    "test_fetch_mbox",
    "test_fetch_writer",
    "test_fetch_exactly_once",
)

CLIENT = {
    "_pipeline": _BULK,
    "_bulk": (*_BULK, "test_turns"),
    "_conversation": (*_BULK, *_SESSION),
    "_session": (*_BULK, *_SESSION, *_LOGIN),
    "_hooks": (*_SESSION, "test_parity", "test_protocol_log", "test_limits", "test_walk"),
    "_stream": ("test_stream", "test_acknowledging", "test_every_octet", "test_deadline", "test_limits"),
    "_login": _LOGIN,
    "_authorization": (*_LOGIN, "test_turns"),
}
FETCH = {
    "fetch/_plan": _FETCH,
    "fetch/_session": _FETCH,
    "fetch/_retrieval": (*_FETCH, "test_fetch_writer"),
    "fetch/_run": _FETCH,
    "fetch/_writer": _PLACES,
    "fetch/_folder": (*_PLACES, "test_fetch_fingerprint"),
    "fetch/_mbox": (*_PLACES, "test_fetch_mbox_lock"),
    "fetch/_mbox_journal": _PLACES,
    "fetch/_sync": _PLACES,
    "fetch/_state": ("test_fetch_state", "test_fetch_import_seen", "test_fetch_deleting", "test_fetch_mbox"),
}
ROOMS = {**CLIENT, **FETCH}


def module(room: str) -> Path:
    """Return the file of *room*, relative to the checkout."""
    return (PACKAGE / f"{room}.py").relative_to(ROOT)


def tests(room: str) -> list[str]:
    """Return the test files that are to find the faults of *room*, relative to the checkout; those that there are."""
    files = (Path("tests", f"{name}.py") for name in ROOMS[room])
    return [str(file) for file in files if (ROOT / file).exists()]
