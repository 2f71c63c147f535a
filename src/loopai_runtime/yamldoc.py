"""YAML as people write it in specifications: YAML 1.2 core types, every value's line, and limits.

PyYAML resolves YAML 1.1, in which `no` is false, `12:30` is 750 and `2026-11-22` is a date object: all of them
ordinary labels and inputs here. This reader keeps such scalars as the text that was written, as the YAML 1.2
core schema does (https://yaml.org/spec/1.2.2/#103-core-schema), refuses duplicate keys and custom tags, and
bounds depth and expansion so that an alias bomb is an error and not an outage.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from loopai_runtime.errors import DocumentError, Fault

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 64
# Values after aliases are expanded; a document without aliases cannot exceed its own size.
MAX_EXPANDED_BY_ALIASES = 100_000

_CORE_RESOLVERS = [
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("tag:yaml.org,2002:int", r"^(?:[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"^(?:[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+0123456789.",
    ),
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", "~nN\0"),
]


class _CoreLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's parser with the core schema's resolvers in place of the 1.1 ones."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML's own attribute


for _tag, _pattern, _first in _CORE_RESOLVERS:
    _CoreLoader.add_implicit_resolver(
        _tag, re.compile(_pattern), [char if char != "\0" else "" for char in _first]
    )


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: `data`, and for each JSON path (`$.examples[3].input`) the line it starts on."""

    data: Any
    file: str
    lines: dict[str, int] = field(repr=False)

    def line(self, path: str) -> int | None:
        """The line of `path`, or of its nearest parent that stands in the file."""
        while path not in self.lines:
            if path in ("$", ""):
                return None
            path = path[: max(path.rfind("."), path.rfind("["))] or "$"
        return self.lines[path]


def child(path: str, key: str | int) -> str:
    """The JSON path of a member: `$.a.b`, `$.a[0]`, `$['odd key']`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", key):
        return f"{path}.{key}"
    escaped = key.replace("\\", "\\\\").replace("'", "\\'")
    return f"{path}['{escaped}']"


def read(path: Path, error: type[DocumentError] = DocumentError) -> Document:
    """Read and parse a YAML file. Raises `error` with the line of each fault; OSError is the caller's."""
    with path.open("rb") as file:
        return parse(text_of(file.read(MAX_BYTES + 1), str(path), error), str(path), error)


def text_of(raw: bytes, file: str, error: type[DocumentError] = DocumentError) -> str:
    """The bytes of a document as text, without a BOM. Raises `error` for one too large or not UTF-8."""
    if len(raw) > MAX_BYTES:
        raise error([Fault(f"larger than {MAX_BYTES // 2**20} MiB", file)])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise error([Fault(f"not UTF-8 (byte {raw[exc.start]:#04x})", file, line)]) from None


def parse(text: str, file: str, error: type[DocumentError] = DocumentError) -> Document:
    """Parse YAML text. Raises `error` listing the faults."""
    stand_ins = _stand_ins(text)
    try:
        node = _compose(text.translate(stand_ins))
    except yaml.YAMLError as exc:
        raise error([_yaml_fault(exc, text, file)]) from None
    except RecursionError:
        raise error([Fault("nested too deeply", file)]) from None
    if node is None:
        return Document(None, file, {})
    builder = _Builder(file, len(text), {ord(instead): char for char, instead in stand_ins.items()})
    data = builder.build(node, "$", 0)
    if builder.faults:
        raise error(builder.faults)
    return Document(data, file, builder.lines)


def _stand_ins(text: str) -> dict[int, str]:
    """Unused characters for those that YAML 1.1 takes for line breaks and YAML 1.2 does not."""
    found = [char for char in "\x85\u2028\u2029" if char in text]
    if not found:
        return {}
    lowered = text.lower()  # an unused character is not escaped anywhere either
    unused = (chr(code) for code in range(0xE000, 0xF900) if chr(code) not in text and f"{code:x}" not in lowered)
    return {ord(char): instead for char, instead in zip(found, unused, strict=False)}


def _compose(text: str) -> yaml.Node | None:
    try:
        return _node(text)
    except yaml.YAMLError:
        # Only where the text does not do as it is: in a plain scalar such escapes are text, not characters.
        joined = _PAIR.sub(_one_escape, text)
        if joined == text:
            raise
        return _node(joined)


def _node(text: str) -> yaml.Node | None:
    _check_depth(text)
    loader = _CoreLoader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
        return node
    finally:
        loader.dispose()


class _TooDeep(yaml.YAMLError):
    def __init__(self, event: yaml.Event) -> None:
        super().__init__()
        self.problem = f"nested deeper than {MAX_DEPTH}"
        self.problem_mark = event.start_mark


def _check_depth(text: str) -> None:
    """PyYAML composes nodes by recursion in C, so that deep nesting would end the process; its events are flat."""
    depth = 0
    for event in yaml.parse(text, Loader=_CoreLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _TooDeep(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


# JSON writes a character beyond U+FFFF as two escapes, which PyYAML takes for halves of characters.
_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


def _one_escape(pair: re.Match[str]) -> str:
    code = 0x10000 + ((int(pair[2], 16) - 0xD800) << 10) + int(pair[3], 16) - 0xDC00
    return f"{pair[1]}\\U{code:08X}"


def _yaml_fault(exc: yaml.YAMLError, text: str, file: str) -> Fault:
    mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
    line = mark.line + 1 if mark else None
    if isinstance(exc, yaml.reader.ReaderError):
        code = ord(exc.character) if isinstance(exc.character, str) else exc.character
        return Fault(
            f"character U+{code:04X} is not allowed in YAML; write it as an escape in double quotes",
            file,
            text.count("\n", 0, exc.position) + 1,
        )
    problem = str(getattr(exc, "problem", None) or exc).strip()
    lines = text.split("\n")
    written = lines[line - 1] if line is not None and line <= len(lines) else ""
    if "\t" in written[: len(written) - len(written.lstrip())] or "'\\t'" in problem:
        problem = "a tab in the indentation; YAML indents with spaces"
    elif "nesting depth" in problem:  # libyaml's own limit, for text that is far beyond ours
        problem = f"nested deeper than {MAX_DEPTH}"
    elif "Unicode character escape" in problem:
        problem = "an escape that is no character (a lone surrogate such as \\ud800 is half of one)"
    return Fault(f"not valid YAML: {problem}", file, line)


class _Builder:
    """Turns composed nodes into plain values, noting lines and collecting faults."""

    def __init__(self, file: str, size: int, stood_in: dict[int, int]) -> None:
        self.file = file
        self._stood_in = stood_in  # what `_stand_ins` did, backwards
        self.lines: dict[str, int] = {}
        self.faults: list[Fault] = []
        self._left = size + MAX_EXPANDED_BY_ALIASES

    def _fault(self, message: str, node: yaml.Node, path: str) -> None:
        self.faults.append(Fault(message, self.file, node.start_mark.line + 1, path))

    def build(self, node: yaml.Node, path: str, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            if not self.faults:
                what = "aliases expand to too much" if self._left < 0 else f"nested deeper than {MAX_DEPTH}"
                self._fault(what, node, path[:200])
            return None
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, child(path, i), depth + 1) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        raise TypeError(f"PyYAML composed an unknown node: {node!r}")

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._fault("a key must be a plain text", key_node, path)
                continue
            key = self._text(key_node, path)
            where = child(path, key)
            if key in result:
                self._fault("this key is given twice", key_node, where)
            self.lines[where] = key_node.start_mark.line + 1
            result[key] = self.build(value_node, where, depth + 1)
            if self._left < 0:
                break
        return result

    def _text(self, node: yaml.ScalarNode, path: str) -> str:
        text = str(node.value).translate(self._stood_in)
        if text.isascii():
            return text
        try:
            # PyYAML without its C parser lets halves of characters through; whole pairs are then joined here.
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            self._fault("a lone surrogate (half of a character)", node, path)
            return ""

    def _scalar(self, node: yaml.ScalarNode, path: str) -> Any:
        text = self._text(node, path)
        kind = str(node.tag).removeprefix("tag:yaml.org,2002:")
        try:
            match kind:
                case "str":
                    return text
                case "null":
                    return None
                case "bool":
                    return text.lower() == "true"
                case "int":
                    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
                case "float":
                    # Python writes .inf and .nan without the dot.
                    number = float(re.sub(r"\.(?=[a-zA-Z])", "", text))
                    if math.isfinite(number):
                        return number
                    self._fault(f"{text} is not a JSON number", node, path)
                    return None
        except ValueError as exc:
            self._fault(f"not a number this program can hold: {exc}", node, path)
            return None
        self._fault(f"the tag !{kind.lstrip('!')} is not supported here", node, path)
        return None
