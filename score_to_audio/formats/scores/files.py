"""Opens untrusted score files: sizes are limited, nothing is fetched, nothing is unpacked to disk."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

from score_to_audio.errors import InputError

MAX_FILE_BYTES = 32 * 2**20
"""Largest score file that is read. The largest score of the ASAP corpus has 4 MB."""
MAX_XML_BYTES = 64 * 2**20
"""Largest XML document, unpacked."""
MAX_XML_TAGS = 3_000_000
"""Most tags of an XML document, which bounds the memory of its tree. The largest score of the ASAP corpus
has 210,000."""
MAX_MEMBERS = 1000
"""Most files inside a compressed score."""
MAX_CONTAINER_BYTES = 2**20
"""Largest META-INF/container.xml."""

_ENCODINGS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "iso-8859-15": "iso-8859-15",
    "windows-1252": "cp1252",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
}


def read_file(path: Path, suffixes: tuple[str, ...]) -> bytes:
    """The bytes of a score file. Raises ``InputError`` where it is missing, empty, too large or no score."""
    if path.suffix.lower() not in suffixes:
        raise InputError(
            f"{path} is not a score file: its suffix is '{path.suffix}'; give one of {', '.join(suffixes)}"
        )
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; give a score file, or a pattern such as {path}/*.musicxml")
        if not path.exists():
            raise InputError(f"{path} does not exist; check the path of the score")
        if not path.is_file():
            raise InputError(f"{path} is not a regular file; give a score file")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise _too_large(path, size)
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    if not content:
        raise InputError(f"{path} is empty; export the score again")
    if len(content) > MAX_FILE_BYTES:
        raise _too_large(path, len(content))
    return content


def _too_large(path: Path, size: int) -> InputError:
    return InputError(
        f"{path} has {size / 2**20:.0f} MiB, a score may have {MAX_FILE_BYTES // 2**20} MiB; "
        "split it, or export the piano part alone"
    )


def is_compressed(content: bytes) -> bool:
    return content.startswith(b"PK\x03\x04") or content.startswith(b"PK\x05\x06")


def is_midi(content: bytes) -> bool:
    return content.startswith(b"MThd")


def open_xml(content: bytes, name: str) -> Any:
    """The root element (lxml) of an XML score, compressed or not.

    MusicXML loses its namespaces; MEI keeps them. No entity is expanded, no DTD is read, nothing is
    fetched. Raises ``InputError``.
    """
    if is_compressed(content):
        content = _unpack(content, name)
    root = parse_xml(_text(content, name), name)
    if not is_mei(root):
        _strip_namespaces(root)
    return root


def is_mei(root: Any) -> bool:
    return str(root.tag).rpartition("}")[2] == "mei"


def _strip_namespaces(root: Any) -> None:
    if not root.tag.startswith("{"):
        return
    for element in root.iter("{*}*"):
        if element.tag.startswith("{"):
            element.tag = element.tag.partition("}")[2]


def parse_xml(text: str, name: str) -> Any:
    """The root element of an XML document that declares no entities."""
    from lxml import etree

    if "<!ENTITY" in text:
        raise InputError(f"{name} declares XML entities, which a score does not need; export the score again")
    if text.count("<") > MAX_XML_TAGS:
        raise InputError(
            f"{name} has more than {MAX_XML_TAGS:,} tags; split it, or export the piano part alone"
        )
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_blank_text=True,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        return etree.fromstring(text.encode("utf-8"), parser)
    except etree.XMLSyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise InputError(
            f"{name}{line} is not well-formed XML ({_first_sentence(str(error))}); export the score again"
        ) from error


def _first_sentence(text: str) -> str:
    return re.sub(r",? ?line \d+, column \d+.*", "", text.split("\n")[0]).strip(" .,")[:120]


def _text(content: bytes, name: str) -> str:
    """Decoded text without its XML declaration, whose encoding no longer holds."""
    encoding = _encoding(content, name)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name} is not text in the encoding that it declares ({encoding}, byte {error.start}); "
            "it is not MusicXML, or damaged: export the score again"
        ) from error
    text = text.lstrip("\ufeff \t\r\n")
    if not text.startswith("<"):
        raise InputError(f"{name} is not XML; export the score as MusicXML")
    return re.sub(r"\A<\?xml[^>]*\?>", "", text, count=1)


def _encoding(content: bytes, name: str) -> str:
    if content.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        raise InputError(f"{name} is encoded in UTF-32; export the score again in UTF-8")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if content.startswith(b"<\0"):
        return "utf-16-le"
    if content.startswith(b"\0<"):
        return "utf-16-be"
    declared = re.match(
        rb"(?:\xef\xbb\xbf)?\s*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)", content[:400]
    )
    if declared is None:
        return "utf-8"
    label = declared.group(1).decode("ascii").lower()
    if label not in _ENCODINGS:
        raise InputError(f"{name} declares the encoding '{label}'; export the score again in UTF-8")
    # A declaration that could be read byte by byte is not UTF-16, whatever it says.
    return "utf-8" if label.startswith("utf-16") else _ENCODINGS[label]


def _unpack(content: bytes, name: str) -> bytes:
    """The MusicXML document inside a compressed score (MusicXML 4.0, "Compressed .mxl files")."""
    damaged = f"{name} is a damaged compressed score; export it again"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise InputError(
                    f"{name} contains {len(members)} files, not a few as a compressed score; export it again"
                )
            by_name = {member.filename: member for member in members}
            if "META-INF/container.xml" not in by_name:
                raise InputError(
                    f"{name} has no META-INF/container.xml; it is not a compressed MusicXML score"
                )
            container = _read_member(archive, by_name["META-INF/container.xml"], MAX_CONTAINER_BYTES, name)
            target = _score_member(container, by_name, name)
            return _read_member(archive, target, MAX_XML_BYTES, name)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise InputError(damaged) from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(damaged) from error


def _score_member(container: bytes, by_name: dict[str, zipfile.ZipInfo], name: str) -> zipfile.ZipInfo:
    place = f"{name} (META-INF/container.xml)"
    root = parse_xml(_text(container, place), place)
    _strip_namespaces(root)
    paths = [
        element.get("full-path", "")
        for element in root.iter("rootfile")
        if "pdf" not in element.get("media-type", "")
    ]
    for path in paths:
        if path in by_name:
            return by_name[path]
    raise InputError(
        f"{name} does not contain the score that its container.xml names; export the score again"
    )


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int, name: str) -> bytes:
    """The member's bytes; the limit holds for what comes out, whatever the archive claims."""
    if member.flag_bits & 0x1:
        raise InputError(f"{name} is encrypted; export the score without a password")
    with archive.open(member) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise InputError(
            f"{name} unpacks to more than {limit // 2**20} MiB; it is not a score, or has to be split"
        )
    return content
