"""The faults: what a tired programmer might have written in the place of what is there.

Owns which faults there are. Each is a change of one place in the source text, whose other lines keep their numbers.
Left out are those that no test is meant to find (annotations, docstrings, the words of messages, what is printed for
debugging, and constants of a module, which are limits with a reason and not rules), and those that any test finds: what
``__init__`` sets.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}

_Node: TypeAlias = ast.expr | ast.stmt


@dataclass(frozen=True)
class Mutant:
    """One fault."""

    line: int
    last_line: int
    what: str
    source: str
    """The whole module with it."""
    at_import: bool = False
    """Whether the place is run when the module is imported, and no test is seen to reach it."""

    @property
    def name(self) -> str:
        """What is shown of it, and what it is remembered by."""
        return f"{self.line}: {self.what}"


def mutants(source: str) -> list[Mutant]:
    """Return the faults of a module, in the order of its lines; no two alike."""
    lines = source.splitlines(keepends=True)
    found: dict[str, Mutant] = {}
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Lambda)]
    for node, replacement in _Changes().of(tree):
        before = "".join(lines[node.lineno - 1 : node.end_lineno])
        changed = _replaced(lines, node, replacement)
        if changed == source or not _compiles(changed):
            continue
        after = _region(changed, node.lineno, len(lines) - (node.end_lineno or 0))
        at_import = not any(node in ast.walk(part) for function in functions for part in _body(function))
        what = _difference(before, after)
        mutant = Mutant(node.lineno, node.end_lineno or node.lineno, what, changed, at_import)
        found.setdefault(mutant.source, mutant)
    return sorted(found.values(), key=lambda mutant: mutant.line)


class _Changes:
    """Goes through a module, and yields a node with what is to stand in its place."""

    def of(self, node: ast.AST) -> Iterator[tuple[_Node, str]]:
        if isinstance(node, ast.expr | ast.stmt) and self._spared(node):
            return
        if isinstance(node, ast.stmt):
            yield from self._of_statement(node)
        elif isinstance(node, ast.expr):
            yield from self._of_expression(node)
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns", "decorator_list", "type_params"}:
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self.of(child)

    def _spared(self, node: _Node) -> bool:  # noqa: PLR0911 - a list
        match node:
            case ast.Expr(value=ast.Constant()):  # a docstring
                return True
            case ast.Import() | ast.ImportFrom() | ast.Global() | ast.Nonlocal() | ast.JoinedStr():
                return True
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                return True
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                return name.isupper() or node.col_offset == 0
            case ast.Expr(value=ast.Call(func=ast.Name(id="print"))) | ast.FunctionDef(name="__repr__" | "__init__"):
                return True
            case ast.Call(func=ast.Name(id="cast" | "TypeVar" | "NewType")):
                return True
        return False

    def _of_statement(self, node: ast.stmt) -> Iterator[tuple[_Node, str]]:
        match node:
            case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Delete() | ast.Continue() | ast.Break():
                yield node, "pass"
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript() | ast.Tuple()]):
                yield node, "pass"
            case ast.Return(value=ast.expr()) if not isinstance(node.value, ast.Constant):
                yield node, "return None"
            case ast.FunctionDef(body=[*_, last]) if not _is_stub(node):
                first = node.body[1] if len(node.body) > 1 and _is_docstring(node.body[0]) else node.body[0]
                if first is not last or not isinstance(first, ast.Return | ast.Expr | ast.Raise):
                    yield first, f"return; {ast.unparse(first)}" if _is_simple(first) else "return"
            case ast.If(test=test) | ast.While(test=test) if not isinstance(test, ast.Compare | ast.Constant):
                yield test, _negated(test)

    def _of_expression(self, node: ast.expr) -> Iterator[tuple[_Node, str]]:  # noqa: C901 - a list
        match node:
            case ast.Compare(left=left, ops=operators, comparators=others):
                for index, operator in enumerate(operators):
                    for other in _COMPARISONS[type(operator)]:
                        changed = [*operators[:index], other(), *operators[index + 1 :]]
                        yield node, _text(ast.Compare(left, changed, others))
            case ast.BoolOp(op=operator, values=values):
                yield node, _text(ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield node, _text(operand)
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
                yield node, _text(ast.BinOp(left, _OPERATORS[type(operator)](), right))
            case ast.IfExp(test=test) if not isinstance(test, ast.Compare):
                yield test, _negated(test)
            case ast.Constant(value=bool() as value):
                yield node, str(not value)
            case ast.Constant(value=int() as value):
                yield node, str(value + 1)
            case ast.Call(func=ast.Name(id=name) as function) if name in _NAMES:
                yield function, _NAMES[name]
            case ast.Call(func=function, args=[first, second, *rest], keywords=keywords):
                yield node, _text(ast.Call(function, [second, first, *rest], keywords))


def _text(node: ast.expr) -> str:
    return f"({ast.unparse(node)})"


def _negated(test: ast.expr) -> str:
    return f"(not ({ast.unparse(test)}))"


def _body(function: ast.FunctionDef | ast.Lambda) -> list[ast.stmt] | list[ast.expr]:
    return [function.body] if isinstance(function, ast.Lambda) else function.body


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_stub(node: ast.FunctionDef) -> bool:
    return all(_is_docstring(statement) or isinstance(statement, ast.Pass) for statement in node.body)


def _is_simple(node: ast.stmt) -> bool:
    return not hasattr(node, "body")


def _replaced(lines: list[str], node: _Node, replacement: str) -> str:
    """Return the module with *replacement* where *node* was, on as many lines."""
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    # Columns of the syntax tree are counted in UTF-8.
    before = lines[first].encode()[: node.col_offset].decode()
    after = lines[last].encode()[node.end_col_offset or 0 :].decode()
    empty = "\n" * (last - first)
    if isinstance(node, ast.stmt):
        return "".join([*lines[:first], before, replacement, after, empty, *lines[last + 1 :]])
    # Within brackets line ends mean nothing to the statement.
    return "".join([*lines[:first], before, "(", empty, replacement, ")", after, *lines[last + 1 :]])


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _region(source: str, line: int, lines_behind: int) -> str:
    lines = source.splitlines()
    return " ".join(part.strip() for part in lines[line - 1 : len(lines) - lines_behind]).strip()


def _difference(before: str, after: str) -> str:
    """Say what became what, without the common beginning and end; within one line, by words."""
    old, new = " ".join(before.split()).split(" "), " ".join(after.split()).split(" ")
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    begin = max(0, start - 2)
    stop = max(0, end - 2)
    left, right = " ".join(old[begin : len(old) - stop]), " ".join(new[begin : len(new) - stop])
    return f"{left[:150]}  ->  {right[:150]}"
