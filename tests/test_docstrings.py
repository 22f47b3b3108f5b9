"""What is public is documented: what it is given and in which units, what it returns, and what it raises itself.

A docstring may say "as `other` does" and leave to the other what is the same for both.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pop3fast
import pop3fast.aio
import pop3fast.fetch
import pop3fast.oauth
import pop3fast.testing

MODULES = (pop3fast, pop3fast.aio, pop3fast.fetch, pop3fast.oauth, pop3fast.testing)
IN_SECONDS = {"timeout", "deadline", "latency", "patience"}
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
        said += " ".join(["", *inspect.get_annotations(owner)]) if inspect.isclass(owner) else ""
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
    assert {one for one in given if not re.search(rf"\b{one}\b", said)} == set(), "arguments that nothing is said of"
    if given & IN_SECONDS:
        assert re.search(r"\b(seconds|days)\b", said), "a time without its unit"
    if signature.return_annotation not in {None, "None", "NoReturn"}:
        assert re.match(r"\w+|`", own), "what it returns"
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


def test_all_of_it_is_looked_at() -> None:
    assert len(NAMES) > 100
    assert {"pop3fast.connect", "pop3fast.POP3.retr_many", "pop3fast.aio.fetch_many"} <= {*NAMES}
