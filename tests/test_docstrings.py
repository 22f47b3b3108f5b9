"""What is public is documented: what it is given and in which units, what it returns and raises, and the state then.

A docstring may say "as `other` does" and leave to the other what is the same for both.
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pop3fast
import pop3fast.aio
import pop3fast.fetch
import pop3fast.oauth
import pop3fast.testing

MODULES = (pop3fast, pop3fast.aio, pop3fast.fetch, pop3fast.oauth, pop3fast.testing)
IN_SECONDS = {"timeout", "deadline", "latency", "patience"}
COUNTS = r"\b(octets|how many|number|seconds|status|size|flags)\b"
CONNECTIONS = (pop3fast.POP3, pop3fast.POP3_SSL, pop3fast.aio.POP3)
STATES = r"\b(goes on|broken|closes|closed|stays open|in step|unmarks)\b"
RAISES = r"\b([Rr]aises?|[Ff]ails in silence)\b"
SILENT = {
    *("pop3fast.Message.lines", "pop3fast.aio.Loop.aclose", "pop3fast.fetch.Entry.kept"),
    *("pop3fast.fetch.Destination.hurry", "pop3fast.fetch.SimpleDestination.hurry", "pop3fast.fetch.Delivery.abandon"),
    *("pop3fast.fetch.Destination.close", "pop3fast.fetch.SimpleDestination.close"),
    *(f"pop3fast.fetch.HandledMessage.{name}" for name in ("close", "email", "header", "open", "sender")),
    *(f"pop3fast.fetch.Seen.{name}" for name in ("flags", "get", "is_short", "size")),
    *(
        f"pop3fast.fetch.SimpleDestination.{name}"
        for name in ("abandoned", "flush", "outgoing", "prepare", "read_back")
    ),
    *(f"pop3fast.fetch.{name}" for name in ("account_digest", "default_path", "destination_forms", "exit_status")),
    *("pop3fast.fetch.fingerprint", "pop3fast.oauth.default_token_path", "pop3fast.oauth.google"),
    "pop3fast.fetch.SimpleDestination.use",
}
"""What raises nothing of its own: it looks at values, or lets go of something."""
ANOTHER = r"\b[Aa]s (?:for )?`(?:\w+\.)*(\w+)`|\b[Ss]ee `(?:\w+\.)*(\w+)`|`(?:\w+\.)*(\w+)` (?:does|gives|has)"


def ours(thing: object) -> bool:
    return str(getattr(thing, "__module__", "")).startswith("pop3fast")


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield every public function and method of ours, with its name."""
    for module in MODULES:
        for name, thing in vars(module).items():
            if name.startswith("_") or not ours(thing):
                continue
            if inspect.isfunction(thing):
                yield f"{module.__name__}.{name}", thing
            elif inspect.isclass(thing):
                for attribute in dir(thing):
                    found = inspect.getattr_static(thing, attribute)
                    method = getattr(found, "__func__", found)
                    if not attribute.startswith("_") and inspect.isfunction(method) and ours(method):
                        yield f"{module.__name__}.{name}.{attribute}", method


FUNCTIONS = dict(public())
# What is inherited is looked at once.
NAMES = sorted({function: name for name, function in reversed(FUNCTIONS.items())}.values())


def said_of(name: str, deep: int = 2) -> str:
    """Return a docstring, with those of the functions that it names for what is the same, and those that they name."""
    said = inspect.getdoc(FUNCTIONS[name]) or ""
    if not deep:
        return said
    # What is "of `Options`" is said beside its fields.
    for kind in re.findall(r"`([A-Z]\w+)`", said):
        owner = getattr(pop3fast.fetch, kind, None)
        said += " ".join(f" *{one}*" for one in inspect.get_annotations(owner)) if inspect.isclass(owner) else ""
    places = (name.rpartition(".")[0], "pop3fast.POP3", "pop3fast", "pop3fast.fetch", "pop3fast.fetch.Destination")
    for groups in re.findall(ANOTHER, said):
        (word,) = filter(None, groups)
        found = [f"{place}.{word}" for place in places if f"{place}.{word}" in FUNCTIONS]
        said += "\n".join(["", *(said_of(one, deep - 1) for one in found if one != name)])
    return said


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_says_what_is_given_returned_and_raised(name: str) -> None:
    function = FUNCTIONS[name]
    own = inspect.getdoc(function) or ""
    assert own.partition("\n")[0].endswith("."), "it begins with a sentence in one line"
    said = said_of(name)
    signature = inspect.signature(function)
    given = {*signature.parameters} - {"self", "cls"}
    named = {one for one in given if re.search(rf"\*{one}\*|`{one}[`=]|\b{one}=", said)}
    assert given == named, "arguments that nothing is said of"
    if given & IN_SECONDS:
        assert re.search(r"\b(seconds|days)\b", said), "a time without its unit"
    if signature.return_annotation not in {None, "None", "NoReturn"}:
        assert re.match(r"\w+|`", own), "what it returns"
    if signature.return_annotation in {"int", "float", "int | None", "float | None"}:
        assert re.search(COUNTS, said), "what the number counts"
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    # By its class; a function that makes the error may have any name.
    raised = {
        node.exc.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
        and node.exc.func.id[0].isupper()
    }
    assert {one for one in raised if one not in said} == set(), "what it raises itself"


def owner_of(name: str) -> Any:  # noqa: ANN401 - a module or a class
    module = max((one for one in MODULES if name.startswith(f"{one.__name__}.")), key=lambda one: len(one.__name__))
    rest = name.removeprefix(f"{module.__name__}.").rpartition(".")[0]
    return getattr(module, rest) if rest else module


def test_what_a_connection_raises_and_its_state_then_is_said_once_for_all_commands() -> None:
    rule = " ".join((pop3fast.POP3.__doc__ or "").split())
    assert re.search(r"`CommandError` when .*, after which the session goes on", rule)
    assert re.search(r"`ProtocolError` or an ``OSError`` when .*, after which only `close` is left", rule)
    assert "Errors are those of `pop3fast.POP3`, and leave the session as there." in (pop3fast.aio.POP3.__doc__ or "")


@pytest.mark.parametrize("name", NAMES)
def test_what_it_raises_is_said_and_the_state_of_a_connection_then(name: str) -> None:
    owner = owner_of(name)
    own = inspect.getdoc(FUNCTIONS[name]) or ""
    if owner in CONNECTIONS:
        # What is not as for all commands.
        assert not re.search(RAISES, own) or re.search(STATES, own), "the state of the connection afterwards"
        return
    said = said_of(name) + ((inspect.getdoc(owner) or "") if inspect.isclass(owner) else "")
    assert (re.search(RAISES, said) is None) == (name in SILENT), "what it raises"


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    """Yield every public class of ours, with its source."""
    for module in MODULES:
        for name, thing in vars(module).items():
            if name.startswith("_") or not inspect.isclass(thing) or not ours(thing):
                continue
            # By any module that has it: some say that they are of another.
            places = [
                Path(place.__file__)
                for at, place in sorted(sys.modules.items())
                if at.startswith("pop3fast") and vars(place).get(name) is thing and place.__file__
            ]
            found = [
                node
                for place in places
                for node in ast.parse(place.read_text("utf-8")).body
                if isinstance(node, ast.ClassDef) and node.name == name
            ]
            yield f"{module.__name__}.{name}", found[0]


@pytest.mark.parametrize(("name", "node"), [pytest.param(*one, id=one[0]) for one in classes()])
def test_a_class_says_what_it_is_and_what_each_of_its_fields_is(name: str, node: ast.ClassDef) -> None:
    assert ast.get_docstring(node), name
    fields = {
        part.target.id: behind
        for part, behind in zip(node.body, [*node.body[1:], None], strict=True)
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    }
    undocumented = {
        field
        for field, behind in fields.items()
        if not (isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant))
    }
    # What looks something up has its words as an argument.
    assert {field for field in undocumented if not field.startswith("_")} <= {"in_step", "pipelining_given_up"}


def test_what_a_session_shows_of_itself_says_what_it_is() -> None:
    for name in ("in_step", "pipelining_given_up"):
        assert re.match(r"(Whether|Why) ", vars(pop3fast.POP3)[name].__doc__)


def test_all_of_it_is_looked_at() -> None:
    assert len(NAMES) > 100
    assert {"pop3fast.connect", "pop3fast.POP3.retr_many", "pop3fast.aio.fetch_many"} <= {*NAMES}
