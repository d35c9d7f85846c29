"""Opens untrusted score files: sizes are limited, nothing is fetched, nothing is unpacked to disk."""

from __future__ import annotations

import codecs
import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

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
MEI_NAMESPACE = "{http://www.music-encoding.org/ns/mei}"

_SUPERSETS = {"shift_jis": "cp932", "gb2312": "gb18030", "euc_kr": "cp949"}
"""What Windows programs write under the name of a smaller encoding."""
_ESCAPES = frozenset(["utf-7", "punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined"])
"""Codecs of Python that are no encodings of documents, or take long to decode."""
_SCORE_SUFFIXES = (".musicxml", ".xml", ".mei")
"""Of the members of an archive that may be its score."""
_FOREIGN = ("meta-inf/", "__macosx/", "._")
"""How members begin that are none."""
_LABELS = {"ansi": "cp1252", "windows-31j": "cp932", "unicode": "utf-8"}
"""What programs call encodings that Python knows by another name; "windows-874" and "cp-874" are regular."""


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


def open_xml(content: bytes, name: str) -> Any:
    """The root element (lxml) of an XML score, compressed or not.

    MusicXML loses its namespaces; MEI keeps them. No entity is expanded, no DTD is read, nothing is
    fetched. Raises ``InputError``.
    """
    if is_compressed(content):
        content = _unpack(content, name)
    root = parse_xml(_text(content, name), name)
    if not is_mei(root):
        strip_namespaces(root)
    return root


def is_mei(root: Any) -> bool:
    return root.tag in ("mei", "meiCorpus") or str(root.tag).startswith(MEI_NAMESPACE)


def strip_namespaces(root: Any) -> None:
    if not root.tag.startswith("{"):
        return
    for element in root.iter("{*}*"):
        if element.tag.startswith("{"):
            element.tag = element.tag.partition("}")[2]


def parse_xml(text: str, name: str) -> Any:
    """The root element of an XML document that declares no entities."""
    from lxml import etree

    _refuse_entities(text, name)
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


def _refuse_entities(text: str, name: str) -> None:
    if "<!ENTITY" in text:
        raise InputError(f"{name} declares XML entities, which a score does not need; export the score again")


def _first_sentence(text: str) -> str:
    return re.sub(r",? ?line \d+, column \d+.*", "", text.split("\n")[0]).strip(" .,")[:120]


def _text(content: bytes, name: str) -> str:
    """Decoded text without its XML declaration, whose encoding no longer holds."""
    encoding = _encoding(content, name)
    try:
        text = _decoded(content, encoding)
    except UnicodeError as error:
        place = f", byte {error.start}" if isinstance(error, UnicodeDecodeError) else ""
        raise InputError(
            f"{name} is not text in the encoding that it declares ({encoding}{place}); "
            "it is not MusicXML, or damaged: export the score again"
        ) from error
    text = text.lstrip("\ufeff \t\r\n")
    if not text.startswith("<"):
        raise InputError(f"{name} is not XML; export the score as MusicXML")
    return re.sub(r"\A<\?xml[^>]*>", "", text, count=1)


def _decoded(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        if encoding not in _SUPERSETS:
            raise
        return content.decode(_SUPERSETS[encoding])


def _encoding(content: bytes, name: str) -> str:
    """By the first bytes, else as declared; any text encoding that Python knows."""
    for start, encoding in _FIRST_BYTES.items():
        if content.startswith(start):
            return encoding
    declared = re.match(
        rb"(?:\xef\xbb\xbf)?\s*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._:-]+)", content[:400]
    )
    if declared is None:
        return "utf-8"
    label = declared.group(1).decode("ascii").lower()
    try:
        encoding = codecs.lookup(_codec(label)).name
        is_readable = b"<?xml".decode(encoding) == "<?xml"
    except (LookupError, UnicodeError):
        encoding, is_readable = label, False
    if encoding.startswith(("utf-16", "utf-32")):
        # A declaration that could be read byte by byte is neither, whatever it says.
        return "utf-8"
    if not is_readable or encoding in _ESCAPES:
        raise InputError(f"{name} declares the encoding '{label}'; export the score again in UTF-8")
    return encoding


def _codec(label: str) -> str:
    """Python's name of an encoding."""
    page = re.fullmatch(r"(?:windows|cp|ibm|ms)[-_]?(\d{3,5})", label)
    return _LABELS.get(label) or (f"cp{page.group(1)}" if page else label.removeprefix("x-"))


_FIRST_BYTES = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"<\0\0\0": "utf-32-le",
    b"\0\0\0<": "utf-32-be",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"<\0": "utf-16-le",
    b"\0<": "utf-16-be",
}
"""Byte-order marks, and "<" where there is none (XML 1.0, appendix F)."""


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
            return _read_member(archive, _score_member(archive, members, name), MAX_XML_BYTES, name)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise InputError(damaged) from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(damaged) from error


def _score_member(archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], name: str) -> zipfile.ZipInfo:
    """The member that META-INF/container.xml names, else the only one that may be a score."""
    by_name = {_path(member.filename): member for member in members}
    container = by_name.get("meta-inf/container.xml")
    if container is not None:
        content = _read_member(archive, container, MAX_CONTAINER_BYTES, name)
        for path in _named_in(content, f"{name} (META-INF/container.xml)"):
            if (member := by_name.get(_path(path)) or by_name.get(_path(unquote(path)))) is not None:
                return member
    candidates = [
        member
        for path, member in by_name.items()
        if path.endswith(_SCORE_SUFFIXES) and not path.startswith(_FOREIGN)
    ]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise InputError(f"{name} contains no score; export the score again")
    raise InputError(
        f"{name} contains {len(candidates)} files that may be the score and does not say which is it; "
        "give one of them"
    )


def _path(path: str) -> str:
    """For comparison: programs write "\\", "./" or another case than the archive has."""
    return posixpath.normpath("/" + path.replace("\\", "/")).lstrip("/").lower()


def _named_in(container: bytes, name: str) -> list[str]:
    """The paths that a container.xml names, the score first (MusicXML 4.0, "Compressed .mxl files").

    None where it is damaged. Raises ``InputError`` where it declares entities.
    """
    try:
        text = _text(container, name)
    except InputError:
        return []
    _refuse_entities(text, name)
    try:
        root = parse_xml(text, name)
    except InputError:
        return []
    files = [element for element in root.iter("{*}rootfile") if "pdf" not in element.get("media-type", "")]
    paths = [element.get("full-path", "") for element in files]
    return sorted(paths, key=lambda path: not path.lower().endswith(_SCORE_SUFFIXES))


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
