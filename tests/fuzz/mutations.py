"""Damage for files of each kind: close enough to the real thing to get past the first check."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Sequence
from random import Random

Mutation = Callable[[bytes, Random], bytes]

NUMBERS = (
    *("0", "-1", "1", "-0", "2147483648", "-9223372036854775809", "1" * 400, "1e999", "-1e999", "1e-320"),
    *("nan", "inf", "0.1", "1/3", "1/0", "+5", " 7 ", "0x10", "1_000", "\u0663", "\u00b2", "3.", ".5"),
)
"""Texts that int() or float() take, or nearly take, to places where nobody expected them."""
TEXTS = (
    *("", " ", "yes", "no", "start", "stop", "continue", "up", "down", "forward", "backward", "rest"),
    *("C", "H", "#", "\u266d", "quarter", "breve", "P1", "piano", "fine", "crescendo", "rit.", "\u202eabc"),
    *("../../x", "%s%n", "&lt;", "<![CDATA[x]]>", "A" * 3000, "1,2", "1-99999999", "allegro" * 50),
)
YAML = (
    *(
        "&a [*a, *a]",
        "&a {b: *a}",
        "*a",
        "<<: *a",
        "!!binary aGFsbG8=",
        "!!set {a, b}",
        "!!timestamp 2001-01-01",
    ),
    *("!!python/object/apply:os.system ['touch trapped']", "!!python/name:os.system", "{", "[" * 2000, "? a"),
    *(
        "&x [1,1,1,1,1,1,1,1,1]",
        "[*x,*x,*x,*x,*x,*x,*x,*x,*x]",
        "~",
        "null",
        "[]",
        "{}",
        "|",
        "---",
        "2001-99-99",
    ),
)
BYTES = bytes((0, 1, 0x7F, 0x80, 0xFF, 0xFE, 0x40))
LARGEST = 1 << 18
"""Bytes of a mutated file."""


def damage_bytes(data: bytes, random: Random) -> bytes:
    """Flips, replaced, removed, repeated, inserted and swapped stretches."""
    content = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4, 8))):
        at = random.randrange(len(content) + 1)
        end = min(len(content), at + random.choice((1, 1, 2, 4, 16, 64)))
        stretch = bytes(content[at:end])
        kind = random.randrange(6)
        if kind == 0 and stretch:
            content[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            content[at:end] = bytes(random.choice(BYTES) for _ in stretch)
        elif kind == 2:
            del content[at:end]
        elif kind == 3:
            content[at:at] = stretch * random.choice((1, 2, 50))
        elif kind == 4:
            content[at:at] = random.randbytes(random.choice((1, 2, 4)))
        else:
            other = random.randrange(len(content) + 1)
            content[other : other + len(stretch)] = stretch
    return bytes(content[:LARGEST])


def damage_xml(data: bytes, random: Random) -> bytes:
    """Tags, texts and attributes removed, repeated, moved and replaced; the result is often well-formed."""
    tokens = [token for token in re.split(r"(<[^>]*>)", data.decode("utf-8", "replace")) if token]
    for _ in range(random.choice((1, 1, 2, 3, 6))):
        if not tokens:
            break
        at = random.randrange(len(tokens))
        kind = random.randrange(8)
        if kind <= 2:
            tokens[at] = _other_token(tokens[at], tokens, random)
        elif kind == 3:
            del tokens[at : _end_of_element(tokens, at)]
        elif kind == 4:
            element = tokens[at : _end_of_element(tokens, at)]
            tokens[at:at] = element * random.choice((1, 1, 2, 30))
        elif kind == 5:
            element = tokens[at : _end_of_element(tokens, at)]
            to = random.randrange(len(tokens))
            tokens[to:to] = element
        elif kind == 6:
            del tokens[at]
        else:
            tokens[at:at] = [random.choice(tokens)]
    return "".join(tokens).encode("utf-8", "replace")[:LARGEST]


def _other_token(token: str, tokens: Sequence[str], random: Random) -> str:
    value = random.choice(random.choice((NUMBERS, TEXTS)))
    if not token.startswith("<"):
        return value
    found = list(re.finditer(r'([\w:.-]+)="([^"]*)"', token))
    if not found:
        name = re.match(r"<(/?[\w:.-]+)", random.choice(tokens))
        return re.sub(r"</?[\w:.-]+", f"<{name[1]}", token) if name else token
    place = random.choice(found)
    written = value.replace("&", "").replace("<", "").replace('"', "")
    return token[: place.start(2)] + written + token[place.end(2) :]


def _end_of_element(tokens: Sequence[str], at: int) -> int:
    """Index after the element that begins at ``at``; after the token where none begins."""
    depth = 0
    for index in range(at, len(tokens)):
        token = tokens[index]
        if token.startswith("</"):
            depth -= 1
        elif token.startswith("<") and not token.endswith("/>") and token[1:2] not in "?!":
            depth += 1
        if depth <= 0:
            return index + 1
    return at + 1


def damage_yaml(data: bytes, random: Random) -> bytes:
    """Lines removed, repeated and moved, values replaced, and what YAML can do that nobody needs."""
    lines = data.decode("utf-8", "replace").split("\n")
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(lines) + 1)
        kind = random.randrange(6)
        if kind == 0 and at < len(lines):
            del lines[at]
        elif kind == 1:
            lines[at:at] = lines[at : at + 1] * random.choice((1, 2, 30))
        elif kind == 2 and at < len(lines):
            name, colon, _ = lines[at].partition(":")
            lines[at] = f"{name}{colon} {random.choice(random.choice((NUMBERS, TEXTS, YAML)))}"
        elif kind == 3:
            indent = " " * random.choice((0, 2, 4))
            lines.insert(at, indent + random.choice(("", "- ", "key: ")) + random.choice(YAML))
        elif kind == 4 and at < len(lines):
            lines[at] = " " * random.choice((1, 2)) + lines[at]
        else:
            return damage_bytes("\n".join(lines).encode("utf-8", "replace"), random)
    return "\n".join(lines).encode("utf-8", "replace")[:LARGEST]


def damage_archive(inside: Mutation) -> Mutation:
    """Bytes of the archive, or a member by ``inside``, packed again so that it is read."""

    def damage(data: bytes, random: Random) -> bytes:
        if random.randrange(3) == 0:
            return damage_bytes(data, random)
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = {member.filename: archive.read(member) for member in archive.infolist()}
        except Exception:
            return damage_bytes(data, random)
        if not members:
            return damage_bytes(data, random)
        name = random.choice(list(members))
        members[name] = inside(members[name], random)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return buffer.getvalue()

    return damage
