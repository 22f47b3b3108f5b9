"""The project keeps its own rules: which room may know which, who may wait, how long a file may be.

Read from the source as it lies in the checkout, never from what is installed. A rule that stands in the way is
changed here, in the open, with its reason.
"""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

import pop3fast
from pop3fast.cli._manual import manual

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "python" / "pop3fast"

# Above this a file is two.
MOST_LINES = 450

# Each of these houses from the roof to the cellar: a module may import what stands behind it in its own house.
CLIENT = (
    "__init__",
    "_install",
    "_recall",
    "_connect",
    "_client_ssl",
    "_client",
    "_bulk_commands",
    "_bulk_loop",
    "_authorization",
    "_asking",
    "_conversation",
    "_closing",
    "_hooks",
    "_by_lines",
    "_handshake",
    "_stream",
    "_listings",
    "_session",
    "_socket",
    "_dial",
    "_route",
    "_aside",
    "_batches",
    "_deadline",
    "_ahead",
    "_pipeline",
    "_kept_back",
    "_doubted_size",
    "_set_aside",
    "_late_acknowledgements",
    "_proof",
    "_batch",
    "_writing",
    "_message",
    "_header_policy",
    "_encoded_words",
    "_turns",
    "_tls",
    "_trust",
    "_protocol_log",
    "_login",
    "_outgoing",
    "_secrets",
    "_commands",
    "_location",
    "_errors",
    "_sasl",
    "_replies",
    "_framing",
)
# The same client on an event loop. It knows what decides, and what a socket says without waiting; but nothing of
# poplib's hooks, nor of a stream or a conversation that blocks.
AIO = (
    "aio",
    "aio._process_many",
    "aio._fetch_many",
    "aio._connect",
    "aio._client",
    "aio._login",
    "aio._bulk_commands",
    "aio._bulk_loop",
    "aio._conversation",
    "aio._traffic",
    "aio._arrivals",
    "aio._patience",
    "aio._queue",
    "aio._answer",
    "aio._threads",
    "aio._wire",
)
NOT_OF_AIO = {*CLIENT[: CLIENT.index("_stream") + 1]} - {"__init__"}
OF_FETCH = {
    *("fetch", "fetch._fetch_many", "fetch._processing", "fetch._waiting"),
    *("fetch.destinations._handler", "fetch.destinations._outgoing"),
}  # what its threads do, and the word that ends it
# What tests the client must not lean on it.
SERVER = (
    "testing",
    "testing._mailbox_server",
    "testing._process",
    "testing._threads",
    "testing._session",
    "testing._wire",
    "testing._maildrop",
)
# From a maildrop to a destination. It uses the client by what is public in it, reads a URL and a refusal and makes a
# connection as it does, and has the core turn line ends. Its rooms, from the roof to the cellar: a run of sessions;
# where mail is delivered to; what is remembered; who logs in; and what all of them stand on.
DESTINATIONS = (
    "fetch.destinations",
    "fetch.destinations._kinds",
    "fetch.destinations._guard",
    "fetch.destinations._handler",
    "fetch.destinations._at_once",
    "fetch.destinations._pipe",
    "fetch.destinations._program",
    "fetch.destinations._objects",
    "fetch.destinations._bucket",
    "fetch.destinations._packing",
    "fetch.destinations._together",
    "fetch.destinations._imap",
    "fetch.destinations._imap_session",
    "fetch.destinations._lmtp",
    "fetch.destinations._served",
    "fetch.destinations._lmtp_session",
    "fetch.destinations._server",
    "fetch.destinations._connection",
    "fetch.destinations._received",
    "fetch.destinations._simple",
    "fetch.destinations._outgoing",
    "fetch.destinations._particulars",
    "fetch.destinations._maildir",
    "fetch.destinations._eml",
    "fetch.destinations._folder",
    "fetch.destinations._folder_index",
    "fetch.destinations._mbox",
    "fetch.destinations._mbox_journal",
    "fetch.destinations._mbox_read_back",
    "fetch.destinations._mbox_delivery",
    "fetch.destinations._read_early",
    "fetch.destinations._mbox_search",
    "fetch.destinations._mbox_lock",
    "fetch.destinations._mboxrd",
    "fetch.destinations._spool",
    "fetch.destinations._open_folders",
    "fetch.destinations._sync",
    "fetch.destinations._destination",
)
MEMORY = (
    "fetch.memory",
    "fetch.memory._import_seen",
    "fetch.memory._postgres_turns",
    "fetch.memory._state_status",
    "fetch.memory._states",
    "fetch.memory._postgres",
    "fetch.memory._postgres_connection",
    "fetch.memory._postgres_schema",
    "fetch.memory._status",
    "fetch.memory._state_home",
    "fetch.memory._state",
    "fetch.memory._account_state",
    "fetch.memory._state_intents",
    "fetch.memory._state_attempts",
    "fetch.memory._state_rows",
    "fetch.memory._state_schema",
    "fetch.memory._state_files",
    "fetch.memory._seen",
    "fetch.memory._journal",
    "fetch.memory._fingerprint",
    "fetch.memory._age",
)
ACCOUNTS = (
    "fetch.accounts",
    "fetch.accounts._account",
    "fetch.accounts._shown",
    "fetch.accounts._keyring",
    "fetch.accounts._passwords",
    "fetch.accounts._netrc",
    "fetch.accounts._private",
    "fetch.accounts._hosts",
)
FETCH = (
    "fetch",
    "fetch.fleet",
    "fetch.fleet._fleet",
    "fetch.fleet._worker",
    "fetch.fleet._look",
    "fetch.fleet._threads",
    "fetch.fleet._alone",
    "fetch.fleet._turns",
    "fetch._processing",
    "fetch._every",
    "fetch._fetch_many",
    "fetch._takeover",
    "fetch._engine",
    "fetch._retrying",
    "fetch._patience",
    "fetch._session",
    "fetch._delivering",
    "fetch._deleting",
    "fetch._listing",
    "fetch._portions",
    "fetch._retrieval",
    "fetch._inquiry",
    "fetch._several",
    "fetch._further",
    "fetch._step",
    "fetch._sharing",
    "fetch._run",
    "fetch._telemetry",
    "fetch._report",
    "fetch._writer",
    "fetch._receipts",
    "fetch._doubt",
    "fetch._plan",
    "fetch._sizes",
    "fetch._filtering",
    "fetch._dropping",
    "fetch._options",
    *DESTINATIONS,
    *MEMORY,
    *ACCOUNTS,
    "fetch._descriptors",
    "fetch._waiting",
    "fetch._files",
    "fetch._file_systems",
    "fetch._forks",
    "fetch._ownership",
    "fetch._errors",
    "fetch._identity",
)
OF_THE_CLIENT = (
    "_recall",
    "_connect",
    "_route",
    "_location",
    "_handshake",
    "_dial",
    "_aside",
    "_framing",
    "_replies",
    "_trust",
)
# Whoever wants tokens: it keeps them as a state and a password are kept, and raises what they raise.
OAUTH = (
    "oauth",
    "oauth._logins",
    "oauth._source",
    "oauth._flows",
    "oauth._providers",
    "oauth._cache",
    "oauth._requests",
)
OF_OAUTH = {
    *("__init__", "fetch", "_replies", "fetch._waiting", "fetch.memory._state_home"),
    *("fetch.accounts._keyring", "fetch.accounts._passwords", "fetch.accounts._private"),
}
# Programs use the others by what is public in them; but a URL and a password are read, and what a server says is shown,
# as the library does it.
PROGRAMS = (
    "__main__",
    "cli",
    "cli._entry",
    "cli._main",
    "cli._demo",
    "cli._demo_fetch",
    "cli._demo_mail",
    "cli._check",
    "cli._completion",
    "cli._manual",
    "cli._importing",
    "cli._import_fetchmail",
    "cli._import_getmail",
    "cli._import_mpop",
    "cli._import_words",
    "cli._status",
    "cli._oauth",
    "cli._show",
    "cli._fleet",
    "cli._fetching",
    "cli._afterwards",
    "cli._log",
    "cli._events",
    "cli._telling",
    "cli._look",
    "cli._advice",
    "cli._headers",
    "cli._progress",
    "cli._screen",
    "cli._selection",
    "cli._arguments",
    "cli._accounts",
    "cli._tokens",
    "cli._config",
    "cli._proxies",
    "cli._parser",
    "cli._settings",
    "cli._text",
)
PUBLIC = {"__init__", "testing", "fetch", "oauth"}
READERS = {
    *("_encoded_words", "_location", "_replies", "_route"),
    *("fetch.accounts._keyring", "fetch.accounts._passwords", "fetch.accounts._private"),
}

# Compiled, and known here by its stub.
EXTENSION = {"_framing"}

# What waits for the network or for time to pass.
WAITING = {"accept", "poll", "recv", "recv_into", "recvfrom", "select", "sleep"}
WAITING_MODULES = {"asyncio", "select", "selectors"}


def modules() -> list[Path]:
    return sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")])


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def file_of(name: str) -> Path:
    path = PACKAGE.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the names of the project's modules that a module imports, wherever in it."""
    known = {name_of(path) for path in modules()}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            dotted = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in dotted:
            first, _, rest = name.partition(".")
            if first == "pop3fast":
                # `from pop3fast._a import b` is about _a; `from pop3fast import b` may be about a module or a name.
                yield max((module for module in known if f"{rest}.".startswith(f"{module}.")), default="__init__")


def may_import(name: str) -> set[str]:
    for house in (CLIENT, SERVER, FETCH, OAUTH, PROGRAMS):
        if name in house:
            below = set(house[house.index(name) + 1 :])
            if name in DESTINATIONS or name in MEMORY:
                below -= set(ACCOUNTS)  # messages are delivered and remembered whoever logs in, and however
            if name == "fetch.fleet._look":
                below.add("aio")  # it looks on a loop
            return below | {FETCH: {"__init__", *OF_THE_CLIENT}, OAUTH: OF_OAUTH, PROGRAMS: PUBLIC | READERS}.get(
                house, set()
            )
    if name in AIO:
        below = set(AIO[AIO.index(name) + 1 :])
        return (
            below
            | (set(CLIENT) - NOT_OF_AIO)
            | (OF_FETCH if name in {"aio._fetch_many", "aio._process_many"} else set())
        )
    pytest.fail(f"{name} has no place yet: put it where it belongs in the tables of this file")


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_down(path: Path) -> None:
    upwards = set(imported(parse(path))) - may_import(name_of(path))
    assert not upwards, f"{name_of(path)} must not know {', '.join(sorted(upwards))}"


def test_every_place_is_taken() -> None:
    assert {*CLIENT, *AIO, *SERVER, *FETCH, *OAUTH, *PROGRAMS} == {name_of(path) for path in modules()}


def rows() -> dict[str, int]:
    """Return in which row of CONTRIBUTING's table each module of the package stands."""
    table = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## The rooms")[2].partition("\n## ")[0]
    found: dict[str, int] = {}
    for number, line in enumerate(table.splitlines()):
        names = re.findall(r"`([\w./]+)`", line.partition(" | ")[0]) if line.startswith("| ") else []
        folder = names.pop(0) if line.startswith("| in ") else ""
        for name in names:
            path = PACKAGE / folder / name
            # Of `fetch/` each module has a row of its own; of another room all are in one.
            files = [*path.glob("*.py")] if path.is_dir() and name != "fetch/" else [path]
            found.update({name_of(file): number for file in files if file.is_file()})
    return found


def test_the_table_of_rooms_has_every_module_and_none_knows_one_behind_it() -> None:
    # What is imported from the package or from `fetch` is public.
    known = {name_of(path): {*imported(parse(path))} - {"__init__", "fetch"} for path in modules()}
    del known["__init__"], known["fetch"]
    places = rows()
    assert {*known} <= {*places}
    behind = [f"{name} knows {other}" for name in known for other in known[name] if places[other] > places[name]]
    assert behind == []


def waits(path: Path) -> set[str]:
    """Return the names in a module that stand for waiting."""
    found: set[str] = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Attribute):
            found |= {node.attr} & WAITING
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & WAITING_MODULES
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module)} & WAITING_MODULES | {alias.name for alias in node.names} & WAITING
    return found


def test_of_the_client_the_stream_waits_and_before_it_what_makes_the_connection() -> None:
    # `_socket` asks with no time to wait.
    waiting = {name: waits(file_of(name)) for name in CLIENT if name not in EXTENSION}
    assert [name for name, words in waiting.items() if words] == ["_handshake", "_stream", "_socket", "_dial"], waiting


def test_on_an_event_loop_nothing_waits_but_by_the_loop() -> None:
    waiting = {name: waits(file_of(name)) for name in AIO}
    assert {name: words for name, words in waiting.items() if words - {"asyncio", "sleep"}} == {}


def test_of_fetching_five_modules_let_time_pass() -> None:
    # The clock, one until others have made a state, one for libraries on an event loop, and the worker of a fleet
    # with its looks, which has a loop of its own; the network is the client's.
    waiting = {name: waits(file_of(name)) for name in FETCH}
    assert [name for name, words in waiting.items() if words] == [
        "fetch.fleet._worker",
        "fetch.fleet._look",
        "fetch.destinations._together",
        "fetch.memory._state_schema",
        "fetch._waiting",
    ], waiting


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=name_of)
def test_init_holds_names_and_nothing_that_runs(path: Path) -> None:
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.Expr)
    tree = parse(path)
    assert [ast.unparse(node) for node in tree.body if not isinstance(node, allowed)] == []
    called = [
        ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call | ast.Lambda | ast.comprehension)
    ]
    assert called == []


def rust_files() -> list[Path]:
    return sorted((ROOT / "src").rglob("*.rs"))


def rust_code(path: Path) -> str:
    return re.sub(r"//[^\n]*", "", path.read_text("utf-8"))


def test_lib_rs_holds_names_and_nothing_that_runs() -> None:
    statements = {
        statement.strip().splitlines()[-1].split()[0] for statement in rust_code(ROOT / "src/lib.rs").split(";")[:-1]
    }
    assert statements <= {"pub", "mod", "use"}
    assert "{" not in re.sub(r"use [^;]*;", "", rust_code(ROOT / "src/lib.rs"))


def test_only_the_binding_names_pyo3() -> None:
    assert [path.name for path in rust_files() if "pyo3" in path.read_text("utf-8")] == ["python.rs"]


@pytest.mark.parametrize("path", [*rust_files(), *modules()], ids=lambda path: path.name)
def test_no_file_is_two(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MOST_LINES


def test_the_crate_and_the_package_have_one_version() -> None:
    crate = tomllib.loads((ROOT / "Cargo.toml").read_text("utf-8"))["package"]["version"]
    assert pop3fast.__version__ == version("pop3fast") == crate


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, which says what belongs to the project")
    # The files may be another user's, as in a container; then git wants to hear that this is meant.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=30).stdout
    files = [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    assert ROOT / "pyproject.toml" in files
    personal = re.compile(rb"(?<![\w.:])/(?:root|home|Users|work|mnt)/\w")
    assert [str(path.relative_to(ROOT)) for path in files if personal.search(path.read_bytes())] == []


def test_what_the_workflows_use_is_pinned_by_digest() -> None:
    used = [
        line.strip()
        for path in (ROOT / ".github/workflows").glob("*.yml")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "uses:" in line
    ]
    assert len(used) > 10
    assert [line for line in used if not re.fullmatch(r"-? ?uses: [\w./-]+@[0-9a-f]{40} # v[\d.]+", line)] == []


def test_the_manual_page_is_what_the_parser_says() -> None:
    page = ROOT / "pop3fast.data/data/share/man/man1/pop3fast.1"
    assert page.read_text("utf-8") == manual(), "the manual page is made anew by: make man"
