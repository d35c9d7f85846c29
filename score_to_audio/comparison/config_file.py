"""Reads a comparison's YAML file as untrusted data; every error names the line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from score_to_audio.comparison.config import KEYS, ComparisonConfig
from score_to_audio.comparison.plan import Plan, PlanError, make_plan
from score_to_audio.errors import InputError
from score_to_audio.wording import brief, did_you_mean

MAX_FILE_SIZE = 2**20
"""Bytes; a row takes some 100."""
MAX_DEPTH = 20
"""Of nested lists and tables."""
MAX_ENTRIES = 100_000
"""Of all lists and tables together, aliases written out: a small file can stand for a huge one."""

TAG_ERRORS = (ValueError, TypeError, AttributeError, KeyError, OverflowError)
"""What PyYAML raises for a tag that does not fit its text: `!!timestamp x`, `!!bool x`."""

Place = tuple[str | int, ...]
Lines = dict[Place, int]
"""Path of keys and indices -> line of the file, counted from 1."""


def read_config(path: Path) -> ComparisonConfig:
    """The comparison that a YAML file describes; paths in it are relative to its folder.

    Raises ``InputError`` that names the file and the line.
    """
    return _read(path)[0]


def read_plan(path: Path, *, device: str = "auto") -> Plan:
    """As ``read_config``, with every name and option resolved."""
    config, lines = _read(path)
    try:
        return make_plan(config, device=device)
    except PlanError as error:
        raise InputError(f"{path}, line {lines[error.place]}: {error}") from error


def _read(path: Path) -> tuple[ComparisonConfig, Lines]:
    try:
        if path.stat().st_size > MAX_FILE_SIZE:
            raise InputError(f"{path}: larger than {MAX_FILE_SIZE >> 20} MB; is it the file of a comparison?")
        text = path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text in UTF-8; save it as UTF-8") from error
    content, lines = parse(text, str(path))
    return with_paths(validated(content, str(path), lines), path.absolute().parent), lines


def validated(content: Any, name: str, lines: Mapping[Place, int] | None = None) -> ComparisonConfig:
    """Raises ``InputError`` that names the place, and the line where ``lines`` knows it."""
    try:
        return ComparisonConfig.model_validate(content)
    except ValidationError as error:
        found = [(*_in_content(one["loc"], content), _in_words(one)) for one in error.errors()]
        first = found[0][0]
        # Where a value may be of several kinds, the error deepest in it says most.
        place, missing, message = max(
            (one for one in found if one[0][: len(first)] == first), key=lambda one: len(one[0])
        )
        line = f", line {lines[place]}" if lines and place in lines else ""
        where = ".".join(brief(step, 60) for step in (*place, *missing)) or "the file"
        more = error.error_count() - 1
        rest = f" (and {more} more)" if more else ""
        raise InputError(
            f"{name}{line}: {where}: {brief(message.removeprefix('Value error, '), 300)}{rest}"
        ) from error


def _in_words(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        hint = did_you_mean(str(error["loc"][-1]), KEYS)
        return f"no such key here; {hint.rstrip() or 'docs/compare.schema.json lists the keys'}"
    return "is missing" if error["type"] == "missing" else str(error["msg"])


_TAGS = {"material", "segments", "synthesis", "codec", "recording", "FirstSeconds", "str"}
"""What pydantic's locations hold beside keys and indices: the kind of row or column that a table was read
as."""


def _in_content(location: tuple[str | int, ...], content: Any) -> tuple[Place, Place]:
    """The steps of a pydantic location that exist in the content, and those that do not."""
    place: list[str | int] = []
    missing: list[str | int] = []
    for step in location:
        is_key = isinstance(content, Mapping) and step in content
        is_index = isinstance(content, list | tuple) and isinstance(step, int) and step < len(content)
        if is_key or is_index:
            place.append(step)
            content = content[step]
        elif step not in _TAGS:
            missing.append(step)
    return tuple(place), tuple(missing)


def with_paths(config: ComparisonConfig, folder: Path) -> ComparisonConfig:
    """Resolves relative paths against ``folder``, and ``~``."""

    def resolved(value: Any) -> Any:
        if isinstance(value, Path):
            return folder / value.expanduser()
        if isinstance(value, dict):
            return {key: resolved(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [resolved(entry) for entry in value]
        return value

    content = resolved(config.model_dump(exclude_unset=True))
    for section in content["sections"]:
        for column in section["columns"]:
            for option in ("prompt", "codec"):
                if isinstance(column.get(option), str) and (folder / column[option]).is_file():
                    column[option] = str(folder / column[option])
    return ComparisonConfig.model_validate(content)


# ------------------------------------------------------------------------------------------- YAML


def parse(text: str, name: str) -> tuple[Any, Lines]:
    """Plain data and its lines. Raises ``InputError`` for text that is not YAML, repeats a key, names types,
    or grows beyond ``MAX_ENTRIES`` by its aliases (*name)."""
    import yaml  # type: ignore[import-untyped]

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{name}, line {line}: {_syntax(str(error.problem or error.context))}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{name}: not YAML ({' '.join(str(error).split())})") from error
    except RecursionError as error:
        raise InputError(f"{name}: nested too deeply") from error
    if node is None:
        raise InputError(f"{name}: is empty; see examples/compare_bundled.yaml")
    lines: Lines = {}
    return _plain(node, (), lines, name), lines


_SYNTAX = {
    "'\\t'": "a tab; indent with spaces",
    "mapping values are not allowed": "a second colon; quote the text that holds it",
    "stream end": "the file ends within a list, a table or quotes; close them",
    "unexpected end of stream": "the file ends within quotes; close them",
    "expected <block end>": "indented otherwise than the lines above; align it with its neighbours",
}


def _syntax(problem: str) -> str:
    """What PyYAML found, in words of ours where it is one of the common mistakes."""
    for part, sentence in _SYNTAX.items():
        if part in problem:
            return sentence
    return f"not YAML ({problem})"


def _plain(node: Any, place: Place, lines: Lines, name: str) -> Any:
    import yaml

    line = node.start_mark.line + 1
    lines[place] = line
    if len(place) > MAX_DEPTH:
        raise InputError(f"{name}, line {line}: nested too deeply")
    if len(lines) > MAX_ENTRIES:
        raise InputError(f"{name}, line {line}: more than {MAX_ENTRIES} entries; split the comparison")
    if isinstance(node, yaml.SequenceNode):
        return [_plain(entry, (*place, index), lines, name) for index, entry in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        table: dict[str, Any] = {}
        for key, entry, key_line in _entries(node):
            if key in table:
                raise InputError(f"{name}, line {key_line}: {brief(key)!r} stands twice; remove one")
            table[key] = _plain(entry, (*place, key), lines, name)
            lines[*place, key] = key_line
        return table
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, *TAG_ERRORS) as error:
        raise InputError(f"{name}, line {line}: {brief(node.value)!r} is not understood; quote it") from error


def _entries(node: Any) -> Iterator[tuple[str, Any, int]]:
    for key, entry in node.value:
        yield str(key.value), entry, key.start_mark.line + 1
