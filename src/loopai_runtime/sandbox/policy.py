"""The language policy: what a program may say, decided when it is compiled. Runs inside the sandbox.

RestrictedPython supplies the visitor that refuses every construct it does not know. Its run-time guards cost
1.5 to 4 times on our programs, so nothing is wrapped here: reading, iterating, unpacking and assigning stay
plain bytecode, and safety comes from what cannot be written at all: no class, no attribute assignment, no
attribute outside `language.METHODS` and the facades, no name that the program or `language.BUILTINS` does not
bind. A program is judged twice: its syntax tree here, and the bytecode that came out of it.
"""

from __future__ import annotations

import ast
import opcode
import re
import sys
from dataclasses import dataclass
from types import CodeType
from typing import TYPE_CHECKING, Any, cast

from RestrictedPython.transformer import RestrictingNodeTransformer

from loopai_runtime.sandbox import language
from loopai_runtime.sandbox.facades import MEMBERS
from loopai_runtime.sandbox.readonly import read_only_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_FAULTS = 20
_TOO_DEEP = "nested too deeply; write it flatter"
_VISITOR_DEPTH = 16_000  # the visitor takes four Python frames a level; the parser's own limits come first
_NEWLINE = re.compile(r"\r\n|\r|\n")
_COOKIE = re.compile(r"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_FORBIDDEN_OPS = frozenset(
    code
    for name, code in opcode.opmap.items()
    if name.startswith(("STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_BUILD_CLASS"))
    or name.startswith(("IMPORT_STAR", "SETUP_WITH", "BEFORE_WITH", "BEFORE_ASYNC", "GET_AWAITABLE"))
    or name.startswith(("LOAD_SUPER", "SETUP_ANNOTATIONS", "CHECK_EG_MATCH", "GET_AITER", "GET_ANEXT"))
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing that a program may not say: `message` names the construct and what to write instead."""

    message: str
    line: int | None


class Refused(Exception):
    """The policy does not let the program in."""

    def __init__(self, refusals: list[Refusal]) -> None:
        super().__init__(refusals[0].message if refusals else "refused")
        self.refusals = refusals


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program that was let in: its code, and what freezing needs to know about its module-level names."""

    code: CodeType
    read_only: frozenset[str]
    lines: dict[str, int]


def compile_restricted(source: str, filename: str) -> Compiled:
    """Compile `source`, or raise Refused with every fault found (at most 20)."""
    tree = parse(source, filename)
    names = _bindings(tree)
    policy = Policy(names)
    tree = policy.judge(tree)
    code = to_code(tree, filename)
    _judge_bytecode(code)
    return Compiled(code, read_only_names(tree, names.counts), names.lines)


def parse(source: str, filename: str) -> ast.Module:
    """The syntax tree of `source`; whatever the parser can raise on hostile text becomes Refused."""
    for number, text in enumerate(_NEWLINE.split(source, 2)[:2], 1):
        cookie = _COOKIE.match(text)
        if cookie and cookie[1].lower().replace("_", "-") not in {"utf-8", "utf8"}:
            raise Refused([Refusal(f"encoding cookie {cookie[1]!r}: a program is UTF-8; remove it", number)])
    try:
        return ast.parse(source, filename)
    except SyntaxError as error:
        raise Refused([Refusal(f"syntax error: {error.msg}", error.lineno)]) from None
    except (ValueError, OverflowError) as error:
        raise Refused([Refusal(f"cannot be parsed: {error}", None)]) from None
    except (RecursionError, MemoryError):
        raise Refused([Refusal(_TOO_DEEP, None)]) from None


def to_code(tree: ast.Module, filename: str) -> CodeType:
    """Bytecode of a tree; faults that only the compiler sees become Refused."""
    try:
        return compile(tree, filename, "exec", dont_inherit=True, optimize=0)
    except SyntaxError as error:
        raise Refused([Refusal(f"syntax error: {error.msg}", error.lineno)]) from None
    except (ValueError, OverflowError) as error:
        raise Refused([Refusal(f"cannot be compiled: {error}", None)]) from None
    except (RecursionError, MemoryError):
        raise Refused([Refusal(_TOO_DEEP, None)]) from None


@dataclass(frozen=True, slots=True)
class _Bindings:
    """Names that a program binds anywhere: how often, at which line first, and as which module."""

    counts: dict[str, int]
    lines: dict[str, int]
    modules: dict[str, list[str]]

    def members(self, name: str) -> tuple[str, frozenset[str], bool] | None:
        """If `import` binds `name`: the module, what it offers, whether the name is never anything else."""
        modules = self.modules.get(name)
        if not modules or modules[0] not in MEMBERS or len(set(modules)) > 1:
            return None
        return modules[0], MEMBERS[modules[0]], self.counts[name] == len(modules)


def _bindings(tree: ast.Module) -> _Bindings:
    counts: dict[str, int] = {}
    lines: dict[str, int] = {}
    modules: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        for name in _bound_by(node):
            counts[name] = counts.get(name, 0) + 1
            lines.setdefault(name, getattr(node, "lineno", 0))
        if type(node) is ast.Import:
            for alias in node.names:
                modules.setdefault(alias.asname or alias.name, []).append(alias.name)
    return _Bindings(counts, lines, modules)


def _bound_by(node: Any) -> Iterable[str]:
    kind = type(node)
    if kind is ast.Name:
        return () if type(node.ctx) is ast.Load else (node.id,)
    if kind is ast.arg:
        return (node.arg,)
    if kind is ast.FunctionDef:
        return (node.name,)
    if kind is ast.Import or kind is ast.ImportFrom:
        return [alias.asname or alias.name for alias in node.names]
    if kind is ast.ExceptHandler or kind is ast.MatchAs or kind is ast.MatchStar:
        return (node.name,) if node.name else ()
    if kind is ast.MatchMapping:
        return (node.rest,) if node.rest else ()
    return ()


class Policy(RestrictingNodeTransformer):
    """Collects refusals; the only thing it changes in a tree is to drop annotations."""

    def __init__(self, names: _Bindings) -> None:
        super().__init__()
        self.names = names
        self.refusals: list[Refusal] = []

    def judge(self, tree: ast.Module) -> ast.Module:
        """The tree to compile, or Refused with all faults in the order of the source."""
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(_VISITOR_DEPTH)
        try:
            judged = cast("ast.Module", self.visit(tree))
        except RecursionError:
            raise Refused([Refusal(_TOO_DEEP, None)]) from None
        finally:
            sys.setrecursionlimit(limit)
        if self.refusals:
            raise Refused(sorted(self.refusals, key=lambda fault: fault.line or 0)[:MAX_FAULTS])
        return judged

    # -- how the library reports -------------------------------------------------------------------------

    def error(self, node: ast.AST, info: str) -> None:
        self.refuse(node, info)

    def warn(self, node: ast.AST, info: str) -> None:
        """Every warning of the library comes with an error; the error is enough."""

    def not_allowed(self, node: ast.AST) -> None:
        kind = type(node).__name__
        hint = language.NODE_HINTS.get(kind)
        self.refuse(node, f"{kind} statements are not allowed" + (f"; {hint}" if hint else ""))

    def refuse(self, node: ast.AST, message: str) -> None:
        column = getattr(node, "col_offset", None)
        place = "" if column is None else f" (column {column + 1})"
        self.refusals.append(Refusal(message + place, getattr(node, "lineno", None)))

    def check_name(self, node: ast.AST, name: str | None, allow_magic_methods: bool = False) -> None:
        """Every binding and reading of a name; `_x` is an ordinary name here, as no guard lives in scope."""
        if name is not None and name.startswith("__"):
            self.refuse(node, f"the name {name} is not allowed; choose one that starts with a letter")

    # -- speed: a model is mostly constants ---------------------------------------------------------------

    def visit(self, node: ast.AST) -> ast.AST:
        if _is_constant(node):
            return node
        return super().visit(node)  # type: ignore[no-any-return]

    def visit_Tuple(self, node: ast.Tuple) -> ast.AST:
        return node if all(map(_is_constant, node.elts)) else self.node_contents_visit(node)

    def visit_List(self, node: ast.List) -> ast.AST:
        return node if all(map(_is_constant, node.elts)) else self.node_contents_visit(node)

    # -- expressions: checked, never wrapped --------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> ast.AST:
        self.check_name(node, node.id)
        if type(node.ctx) is ast.Load and not node.id.startswith("__"):
            known = node.id in self.names.counts or node.id in language.BUILTINS
            if not known:
                hint = language.NAME_HINTS.get(node.id)
                reason = f"the name {node.id} is not offered; {hint}" if hint else f"the name {node.id} is unknown"
                self.refuse(node, reason)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        attribute = node.attr
        facade = self.names.members(node.value.id) if type(node.value) is ast.Name else None
        if type(node.ctx) is not ast.Load:
            self.refuse(node, f"setting the attribute .{attribute} is not allowed; use a dict")
        elif facade and (attribute in facade[1] or facade[2]):
            self._member(node, facade[0], attribute)
        elif attribute not in language.METHODS:
            hint = language.METHOD_HINTS.get(attribute)
            self.refuse(node, f"the attribute .{attribute} is not offered" + (f"; {hint}" if hint else ""))
        return self.node_contents_visit(node)

    def _member(self, node: ast.AST, module: str, name: str) -> None:
        members = MEMBERS.get(module)
        if members is not None and name not in members:
            offered = ", ".join(sorted(members))
            self.refuse(node, f"{module}.{name} is not offered; {module} has {offered}")

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return self.node_contents_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return self.node_contents_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        if node.is_async:
            self.refuse(node.target, "async comprehensions are not allowed; write a plain one")
        return self.node_contents_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> ast.AST:
        return self.node_contents_visit(node)

    # -- statements ---------------------------------------------------------------------------------------

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        return self.node_contents_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        return self.node_contents_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        """An annotation is checked, then dropped: nothing may read it, and evaluating it costs time."""
        self.node_contents_visit(node)
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign([node.target], node.value), node)

    def visit_For(self, node: ast.For) -> ast.AST:
        return self.node_contents_visit(node)

    def visit_With(self, node: ast.With) -> None:
        self.not_allowed(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.not_allowed(node)

    def visit_Global(self, node: ast.Global) -> None:
        self.not_allowed(node)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        for name in node.names:
            self.check_name(node, name)
        return node

    def visit_TemplateStr(self, node: ast.AST) -> None:
        self.not_allowed(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.check_name(node, node.name)
        self.check_function_argument_names(node)
        for decorator in node.decorator_list:
            self.refuse(decorator, "decorators are not allowed; call the function by name")
        if getattr(node, "type_params", None):
            self.refuse(node, "type parameters are not allowed; leave them out")
        self.node_contents_visit(node)
        node.returns = None
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        self.node_contents_visit(node)
        node.annotation = None
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self.check_function_argument_names(node)
        return self.node_contents_visit(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self.node_contents_visit(node)

    # -- imports ------------------------------------------------------------------------------------------

    def visit_Import(self, node: ast.Import) -> ast.AST:
        for alias in node.names:
            self._import(node, alias.name)
            self.check_name(node, alias.asname)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        module = node.module or ""
        if module == "__future__" and not node.level:
            if any(alias.name != "annotations" or alias.asname for alias in node.names):
                self.refuse(node, "only annotations can be imported from __future__; leave the rest out")
            return ast.copy_location(ast.Pass(), node)
        self._import(node, "." * node.level + module)
        for alias in node.names:
            self._member(node, module, alias.name)
            self.check_name(node, alias.asname or alias.name)
        return node

    def _import(self, node: ast.AST, module: str) -> None:
        if getattr(node, "is_lazy", 0):
            self.refuse(node, "lazy imports are not allowed; write a plain one")
        if module not in MEMBERS:
            hint = language.MODULE_HINTS.get(module.partition(".")[0])
            offered = hint or "there are " + ", ".join(sorted(MEMBERS))
            self.refuse(node, f"the module {module} is not offered; {offered}")

    # -- match: patterns read no attribute ----------------------------------------------------------------

    def visit_Match(self, node: ast.Match) -> ast.AST:
        return self.node_contents_visit(node)

    visit_match_case = visit_MatchValue = visit_MatchSingleton = visit_Match  # type: ignore[assignment]
    visit_MatchSequence = visit_MatchOr = visit_Match  # type: ignore[assignment]

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> ast.AST:
        self.check_name(node, node.name)
        return self.node_contents_visit(node)

    visit_MatchStar = visit_MatchAs

    def visit_MatchMapping(self, node: ast.MatchMapping) -> ast.AST:
        self.check_name(node, node.rest)
        return self.node_contents_visit(node)

    def visit_MatchClass(self, node: ast.MatchClass) -> ast.AST:
        name = node.cls.id if type(node.cls) is ast.Name else None
        if name not in language.MATCHABLE or name in self.names.counts:
            self.refuse(node, "this class cannot be matched; use one of " + ", ".join(sorted(language.MATCHABLE)))
        if node.kwd_attrs or len(node.patterns) > 1:
            self.refuse(node, "a class pattern takes at most one pattern and no names; test the parts with if")
        return self.node_contents_visit(node)


def _is_constant(node: Any) -> bool:
    kind = type(node)
    if kind is ast.UnaryOp:
        return type(node.op) is ast.USub and type(node.operand) is ast.Constant
    return kind is ast.Constant


def _judge_bytecode(code: CodeType) -> None:
    """The second opinion: nothing in the code may be able to do what the tree was not allowed to say."""
    for part in _all_code(code):
        if not _FORBIDDEN_OPS.isdisjoint(part.co_code[::2]):
            raise Refused(
                [Refusal("the compiled code holds an instruction that is not allowed", part.co_firstlineno)]
            )
        for name in part.co_names:
            if name.startswith("__") and name != "__doc__":
                raise Refused(
                    [Refusal(f"the compiled code uses {name}, which is not allowed", part.co_firstlineno)]
                )


def _all_code(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if type(constant) is CodeType:
            yield from _all_code(constant)
