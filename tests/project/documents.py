"""What the documents hold: code blocks, command lines, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.paths import PROJECT

RUN = "<!-- run -->"
"""Stands before a block that the tests run."""
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
INLINE = re.compile(r"`(score-to-audio [^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A block of code in a document."""

    document: Path
    number: int
    language: str
    text: str
    run: bool

    def __str__(self) -> str:
        return f"{self.document.relative_to(PROJECT)}-{self.number}"


@cache
def documents() -> tuple[Path, ...]:
    found = [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md"), *(PROJECT / "examples").rglob("*.md")]
    return tuple(sorted([*found, *(PROJECT / ".github").rglob("*.md")]))


@cache
def blocks() -> tuple[Block, ...]:
    return tuple(block for document in documents() for block in _blocks_of(document))


def _blocks_of(document: Path) -> Iterator[Block]:
    text = document.read_text("utf-8")
    found = [(match.start(), match[2], match[3]) for match in FENCE.finditer(text)]
    rest = FENCE.sub(lambda match: re.sub(r"[^\n]", "", match[0]), text)
    found += [(match.start(), "sh", match[0]) for match in INDENTED.finditer(rest)]
    for number, (start, language, content) in enumerate(sorted(found)):
        run = text[:start].rstrip().endswith(RUN)
        yield Block(document, number, language, content, run)


def command_lines(program: str) -> list[tuple[Block, list[str]]]:
    """The words of every call of ``program`` in a shell block, without the program's name."""
    found = []
    for block in blocks():
        if block.language in ("", "sh", "console"):
            for line in block.text.replace("\\\n", " ").splitlines():
                found += [(block, words) for words in _calls(line, program)]
    return found


def _calls(line: str, program: str) -> Iterator[list[str]]:
    """``line`` may set variables, chain commands, and end in a comment."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # not a shell's line
        return
    call: list[str] = []
    for word in [*words, ";"]:
        if word.rstrip(";") == "" or word in ("&", "&&", "|", "||"):
            while call and re.fullmatch(r"[A-Z_]+=.*", call[0]):
                call.pop(0)
            if call and call[0] == program:
                yield call[1:]
            call = []
        else:
            call.append(word)


def inline_commands() -> list[tuple[Path, list[str]]]:
    """The words of every `score-to-audio ...` within a sentence."""
    return [
        (document, command.replace("...", "").split()[1:])
        for document in documents()
        for command in INLINE.findall(FENCE.sub("", document.read_text("utf-8")))
    ]


def links() -> list[tuple[Path, Path, str]]:
    """Document, target and section ("" for none) of all links within the project."""
    found = []
    for document in documents():
        for target in LINK.findall(FENCE.sub("", document.read_text("utf-8"))):
            if not re.match(r"[a-z]+:|<", target):
                path, _, section = target.partition("#")
                found.append((document, (document.parent / path if path else document).resolve(), section))
    return found


def sections(document: Path) -> set[str]:
    """The names by which links find the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", document.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
