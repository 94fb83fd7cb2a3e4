"""YAML 1.2 core schema on PyYAML's parser, with the place of everything in the file.

PyYAML reads YAML 1.1, where `5432:22` is a number to the base 60, `no` is false and the last of two
equal keys wins. So only its events are used: they have text, style and marks, hostile input costs
no more than other input, and the tree is built without recursion. Owns the list of what a profile
may not use: anchors, aliases, tags, keys that are not strings, a second document. Must never
evaluate a tag.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import field

import yaml

from tunnelctl.config.yaml.mistakes import KeyPath, Mark, Mistakes
from tunnelctl.config.yaml.tree import Entry, Mapping, Node, Scalar, Sequence, Substituted, Value
from tunnelctl.quick_dataclass import dataclass

MAX_DEPTH = 32
# Keys and values, including lists and maps: 1 MiB can contain more than a second's work.
MAX_VALUES = 50_000
# The parser may read ahead; twice its own limit of 1,024 (see `too_deep`).
_AHEAD = 2048
_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
_NUMBER_LENGTH = 100  # characters; longer numbers stay text, and are refused later

# The C parser is ten times as fast; a wheel for a new Python may lack it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# YAML 1.2.2 section 10.3.2, tag resolution of the core schema.
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
# YAML 1.2.2 section 5.1, everything outside c-printable.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# A quoted scalar that ends on its line.
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'")
_SURROGATE = re.compile("[\ud800-\udfff]")

# Replaces variables in the text of a value; returns None if a mistake was reported.
Substitute = Callable[[str, Mark, KeyPath], str | None]


class _Stop(Exception):
    """Nothing after this place can be parsed."""


def decode(raw: bytes, file: str, mistakes: Mistakes) -> str | None:
    """The text of a profile, which is UTF-8; None after a mistake.

    It may begin with a byte order mark (YAML 1.2.2 section 5.2), as editors on Windows write it.
    """
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        mistakes.add(Mark(file), (), "this is UTF-16; save the file as UTF-8")
        return None
    raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        mistakes.add(_end_of(before, file), (), f"byte 0x{raw[error.start]:02x} is not UTF-8")
        return None
    found = _UNPRINTABLE.search(text)
    if found is not None:
        number = ord(found[0])
        what = "a NUL byte" if number == 0 else f"the control character U+{number:04X}"
        mistakes.add(_end_of(text[: found.start()], file), (), f"{what} cannot be in YAML")
        return None
    return text


def parse(text: str, file: str, mistakes: Mistakes, substitute: Substitute) -> Node | None:
    """The tree of the single document in `text`, or None if it could not be parsed to its end.

    Parsing continues after a mistake where possible, and the value is marked as broken.
    """
    builder = _Builder(file, mistakes, substitute)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.feed(event)
    except _Stop:
        return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Mark(file) if mark is None else Mark(file, mark.line + 1, mark.column + 1)
        line = _line(text, place)
        if not builder.too_deep(line, place):
            mistakes.add(place, (), _syntax_message(error, line, place))
        return None
    except (yaml.YAMLError, ValueError, OverflowError):
        # The pure-Python scanner raises ValueError for an impossible "\U…" escape.
        mistakes.add(builder.place, (), "after this place is something that is not YAML")
        return None
    if builder.root is None:
        mistakes.add(Mark(file), (), "the file is empty; tunnelctl init writes a first profile")
    return builder.root


def resolve(text: str) -> Value:
    """The value of a plain scalar in the YAML 1.2 core schema: `010` is ten, `no` is a string."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in "+-.0123456789" or len(text) > _NUMBER_LENGTH:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEX.fullmatch(text):
        return int(text[2:], 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text.replace(".", ""))
    return text


@dataclass(slots=True)
class _Frame:
    """A list or map that is being parsed."""

    mark: Mark
    path: KeyPath
    is_map: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    expects_key: bool = True
    key: str | None = None  # None if the key was a mistake: its value is parsed and dropped
    key_mark: Mark | None = None

    def child_path(self) -> KeyPath:
        if not self.is_map:
            return (*self.path, len(self.items))
        return self.path if self.key is None else (*self.path, self.key)


class _Builder:
    """Takes the events of the parser one by one and builds the tree."""

    def __init__(self, file: str, mistakes: Mistakes, substitute: Substitute) -> None:
        self.root: Node | None = None
        self.place = Mark(file)
        self._file = file
        self._mistakes = mistakes
        self._substitute = substitute
        self._stack: list[_Frame] = []
        self._documents = 0
        self._values = 0

    def feed(self, event: yaml.Event) -> None:
        start = event.start_mark
        if start is not None:
            self.place = Mark(self._file, start.line + 1, start.column + 1)
        mark = self.place
        if isinstance(event, yaml.NodeEvent):
            self._count(mark)
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, mark)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event, mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._say(mark, f"aliases (*{event.anchor}) are not allowed; write the value again")
            self._broken(mark)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._document(event, mark)

    def too_deep(self, line: str, place: Mark) -> bool:
        """Whether the parser stopped at `place` of `line` because of more nesting than is allowed.

        To see whether a bracket begins a key, the parser reads up to 1,024 characters of its line
        ahead (YAML 1.2.2 section 7.4.3), and the C parser has its own limit for that. Our limit
        comes first, so that place is reported.
        """
        seen = self.place.column if self.place.line == place.line else 0
        read = line[seen : min(place.column, seen + _AHEAD)]
        ahead = _QUOTED.sub(lambda quoted: " " * len(quoted[0]), read)
        depth = len(self._stack)
        for column, char in enumerate(ahead, seen + 1):
            depth += (char in "[{") - (char in "]}")
            if depth > MAX_DEPTH:
                inside = (*self._path(), *(0,) * (MAX_DEPTH - len(self._stack)))
                self._mistakes.add(Mark(self._file, place.line, column), inside, _TOO_DEEP)
                return True
        return False

    def _count(self, mark: Mark) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            self._mistakes.add(mark, (), f"a profile has at most {MAX_VALUES:,} keys and values")
            raise _Stop

    def _document(self, event: yaml.DocumentStartEvent, mark: Mark) -> None:
        self._documents += 1
        if self._documents > 1:
            self._mistakes.add(mark, (), "a profile is one document; this begins a second one")
            raise _Stop
        if event.tags:
            self._mistakes.add(mark, (), "tags (%TAG) are not allowed")

    def _scalar(self, event: yaml.ScalarEvent, mark: Mark) -> None:
        is_plain = not event.style  # the C parser returns "", the other one None
        refused = self._refuse_properties(event, mark)
        if self._expects_key():
            self._key(event.value, is_plain, mark)
        elif refused:
            self._broken(mark)
        else:
            self._add(self._value(event.value, is_plain, mark))

    def _value(self, text: str, is_plain: bool, mark: Mark) -> Scalar:
        path = self._path()
        if _SURROGATE.search(text):
            self._mistakes.add(mark, path, "the escapes in this text are not a character")
            return Scalar(mark, None, broken=True)
        ignored = bool(path) and str(path[0]).startswith("x-")
        if "$" not in text or ignored:
            return Scalar(mark, resolve(text) if is_plain else text)
        replaced = self._substitute(text, mark, path)
        if replaced is None:
            return Scalar(mark, None, broken=True)
        # An empty plain scalar is no value; any other takes the type that its key requires.
        is_absent = is_plain and resolve(replaced) is None
        return Scalar(mark, None if is_absent else Substituted(replaced), optional=True)

    def _key(self, text: str, is_plain: bool, mark: Mark) -> None:
        frame = self._stack[-1]
        frame.expects_key = False
        frame.key, frame.key_mark = None, mark
        value = resolve(text) if is_plain else text
        first = frame.entries.get(text)
        if not isinstance(value, str):
            self._say(mark, f'{text or "nothing"} is not a string; write the key as "{text}"')
        elif _SURROGATE.search(text):
            self._say(mark, "the escapes in this key are not a character")
        elif first is not None:
            self._mistakes.add(
                mark, (*frame.path, text), f"duplicate key, first on line {first.key.line}"
            )
        else:
            frame.key = text

    def _begin(self, event: yaml.CollectionStartEvent, mark: Mark) -> None:
        self._refuse_properties(event, mark)
        if len(self._stack) >= MAX_DEPTH:
            self._say(mark, _TOO_DEEP)
            raise _Stop
        is_map = isinstance(event, yaml.MappingStartEvent)
        self._stack.append(_Frame(mark, self._path(), is_map))

    def _end(self) -> None:
        frame = self._stack.pop()
        if self._expects_key():
            self._say(frame.mark, "a key must be a single word, not a list or map")
            self._drop_key(frame.mark)
        elif frame.is_map:
            self._add(Mapping(frame.mark, frame.entries))
        else:
            self._add(Sequence(frame.mark, tuple(frame.items)))

    def _broken(self, mark: Mark) -> None:
        if self._expects_key():
            self._drop_key(mark)
        else:
            self._add(Scalar(mark, None, broken=True))

    def _drop_key(self, mark: Mark) -> None:
        frame = self._stack[-1]
        frame.expects_key, frame.key, frame.key_mark = False, None, mark

    def _add(self, node: Node) -> None:
        if not self._stack:
            empty = isinstance(node, Scalar) and node.absent
            self.root = None if empty else node
            return
        frame = self._stack[-1]
        if not frame.is_map:
            frame.items.append(node)
            return
        if frame.key is not None and frame.key_mark is not None:
            frame.entries[frame.key] = Entry(frame.key_mark, node)
        frame.expects_key, frame.key = True, None

    def _refuse_properties(self, event: yaml.NodeEvent, mark: Mark) -> bool:
        """Report a tag or an anchor; True if the value is unknown because of it."""
        if event.anchor is not None:
            self._say(mark, f"anchors (&{event.anchor}) are not allowed; write the value again")
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._say(mark, f"tags ({tag}) are not allowed; write the value alone")
        return tag is not None

    def _expects_key(self) -> bool:
        return bool(self._stack) and self._stack[-1].is_map and self._stack[-1].expects_key

    def _path(self) -> KeyPath:
        return self._stack[-1].child_path() if self._stack else ()

    def _say(self, mark: Mark, message: str) -> None:
        self._mistakes.add(mark, self._path(), message)


def _end_of(text: str, file: str) -> Mark:
    """The place right after `text`."""
    line_start = text.rfind("\n") + 1
    return Mark(file, text.count("\n") + 1, len(text) - line_start + 1)


def _line(text: str, place: Mark) -> str:
    """The whole line of `place`."""
    lines = text.splitlines()
    return lines[place.line - 1] if place.line <= len(lines) else ""


def _syntax_message(error: yaml.MarkedYAMLError, line: str, place: Mark) -> str:
    message = f"not valid YAML: {error.problem or error.context}"
    last_variable = line.rfind("${")
    if any(0 <= line.find(mark) < last_variable for mark in "{[,"):
        return message + ' (inside { } and [ ] write "${NAME}" in quotes)'
    if "\t" in line[: place.column]:
        return message + " (a tab cannot indent YAML; use spaces)"
    return message
