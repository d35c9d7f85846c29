"""Published checkpoints: the table, downloads and imports, and hashes.

The table is data (``checkpoints.toml``). Files are ``NAME/FILE`` in ``SCORE_TO_AUDIO_CHECKPOINTS``, by
default in the user's data folder; ``NAME/pins.json`` records their hashes from the first use on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import struct
import tomllib
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from score_to_audio.download import MAX_SIZE, cached_by_hugging_face, check_room, download
from score_to_audio.errors import InputError
from score_to_audio.files import replacing, sha256_of, user_folder
from score_to_audio.plugins import Checkpoint
from score_to_audio.wording import did_you_mean, reason

log = logging.getLogger(__name__)

UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError)
"""What ``zipfile`` raises for damaged archives."""


@dataclass(frozen=True)
class Published:
    """One entry of the table; the head of ``checkpoints.toml`` explains the fields."""

    name: str
    model: str
    files: Mapping[str, str]
    page: str
    licence: str
    citation: str
    url: Mapping[str, str] = field(default_factory=dict)
    archive: Mapping[str, Sequence[str]] = field(default_factory=dict)
    archive_url: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)
    foreign: Sequence[str] = ()
    package: str = ""
    role: str = "checkpoint"
    ask: str = ""
    commercial_use: bool = True

    @property
    def can_be_pulled(self) -> bool:
        """Whether its publisher, or the package that ships it, has all files."""
        return bool(self.package) or set(self.files) <= {
            *self.url,
            *(self.archive if self.archive_url else ()),
        }

    @property
    def folder(self) -> Path:
        """Of its files: among the user's checkpoints, or in the package that ships them."""
        if self.package:
            return Path(str(package_files(self.package)))
        return folder() / self.name


@cache
def table() -> dict[str, Published]:
    """Every known checkpoint by name."""
    text = package_files("score_to_audio").joinpath("checkpoints.toml").read_text("utf-8")
    return {name: Published(name=name, **entry) for name, entry in tomllib.loads(text).items()}


def published(name: str) -> Published:
    """The entry ``name``. Raises ``InputError``, which lists the known names."""
    if name not in table():
        hint = did_you_mean(name, table())
        raise InputError(f"unknown checkpoint {name!r}; {hint}known: {', '.join(sorted(table()))}")
    return table()[name]


def folder() -> Path:
    """Of the user's checkpoints."""
    return user_folder("SCORE_TO_AUDIO_CHECKPOINTS", "checkpoints")


def find(name_or_path: str) -> Checkpoint:
    """The checkpoint of this name in the table, or the file at this path.

    Raises ``InputError``, which says what is missing and which command gets it.
    """
    path = Path(name_or_path).expanduser()
    if name_or_path not in table() and path.is_file():
        return Checkpoint(path.name, {"weights": path}, sha256_of(path))
    entry = published(name_or_path)
    paths = {role: entry.folder / file for role, file in entry.files.items()}
    missing = [path.name for path in paths.values() if not path.is_file()]
    if missing:
        raise InputError(
            f"checkpoint {entry.name!r} lacks {', '.join(missing)}: it needs {how_to_obtain(entry.name)}"
        )
    return Checkpoint(entry.name, paths, _joint_sha256(_verified_hashes(entry, paths)))


def say_first_use(name: str) -> None:
    """Log the licence of a shipped checkpoint that forbids commercial use, once per user: others were said
    when they were pulled."""
    entry = table().get(name)
    if entry is None or not entry.package or entry.commercial_use:
        return
    said = folder() / name / "licence-said"
    with suppress(OSError):  # said before, or a folder that cannot be written
        said.parent.mkdir(parents=True, exist_ok=True)
        said.touch(exist_ok=False)
        log.warning(
            "weights of %s: %s; no commercial use (the renderers kth-rules and score have no such condition)",
            name,
            entry.licence,
        )


def is_available(name_or_path: str) -> bool:
    """Whether ``find`` would find it; reads no file."""
    if name_or_path not in table():
        return Path(name_or_path).expanduser().is_file()
    entry = published(name_or_path)
    return all((entry.folder / file).is_file() for file in entry.files.values())


def how_to_obtain(name: str) -> str:
    """What a missing checkpoint needs, to complete the sentence "it needs ..."."""
    if name not in table():
        return f"the file {name}"
    entry = published(name)
    if entry.package:
        return "a complete installation of score-to-audio, which ships it"
    if entry.can_be_pulled:
        return f"`score-to-audio models pull {entry.name}`"
    return f"a download from {entry.page}, then `score-to-audio models import {entry.name} FILE`"


def by_hand(name: str) -> str:
    """A sentence: which files come from where, for a machine without a network."""
    entry = published(name)
    if entry.package:
        return f"{name} is shipped with score-to-audio"
    if entry.ask:
        return f"{name}: ask {entry.ask}; then `score-to-audio models import {name} FILE`"
    files = [f"the archive {entry.archive_url}"] if entry.archive_url else []
    files += [
        f"{entry.files[role]} from {url}" for role, url in entry.url.items() if role not in entry.archive
    ]
    spare = [f"{entry.files[role]} from {url}" for role, url in entry.url.items() if role in entry.archive]
    lacking = f" (and what it lacks: {', '.join(spare)})" if spare else ""
    return f"{name}: get {' and '.join(files)}{lacking}; then `score-to-audio models import {name} FILES`"


def pull(name: str) -> Checkpoint:
    """Download what is missing of a checkpoint, from its publisher or from ``SCORE_TO_AUDIO_MIRROR``.

    A mirror is any address below which ``NAME/FILE`` are the files, such as a copy of the folder of
    checkpoints on a web server. Raises ``InputError`` and ``OutputError``.
    """
    entry = published(name)
    missing = [] if entry.package else [role for role in entry.files if not _is_intact(entry, role)]
    if mirror := os.environ.get("SCORE_TO_AUDIO_MIRROR"):
        for role in missing:
            _download(entry, role, f"{mirror.rstrip('/')}/{entry.name}/{entry.files[role]}")
        return find(name)
    if missing and not entry.can_be_pulled:
        raise InputError(f"no direct download is known: {by_hand(name)}")
    if entry.archive_url and set(missing) & set(entry.archive):
        unpacked = _pull_archive(entry)
        missing = [role for role in missing if role not in unpacked]
    for role in missing:
        _download(entry, role, entry.url[role])
    return find(name)


def _is_intact(entry: Published, role: str) -> bool:
    path, known = entry.folder / entry.files[role], _known_sha256(entry, role)
    return path.is_file() and (not known or sha256_of(path) == known)


def _download(entry: Published, role: str, url: str) -> None:
    target = entry.folder / entry.files[role]
    if cached := cached_by_hugging_face(url):
        _install(cached, target)
    else:
        download(url, target, sha256=_known_sha256(entry, role))


def _pull_archive(entry: Published) -> set[str]:
    """The roles that the archive had; the archive itself is not kept."""
    archive = entry.folder / Path(urlsplit(entry.archive_url).path).name
    download(entry.archive_url, archive)
    members = _members(entry, archive)
    for role, member in members.items():
        _install((archive, member), entry.folder / entry.files[role])
    archive.unlink()
    return set(members)


def import_files(name: str, sources: Sequence[Path]) -> Checkpoint:
    """Copy a checkpoint from files on this machine: its files, or the archive as published.

    Files are recognised by their published names; a single file of any name counts as the weights.
    """
    entry = published(name)
    if entry.package:
        raise InputError(
            f"{name!r} is shipped with score-to-audio and cannot be replaced; use your file by its path"
        )
    for role, source in _assign_roles(entry, sources).items():
        _install(source, entry.folder / entry.files[role])
    (entry.folder / "pins.json").unlink(missing_ok=True)  # the user's files count from now on
    return find(name)


Source = Path | tuple[Path, str]
"""A file, or an archive and one of its members."""


@contextmanager
def _opened(source: Source) -> Iterator[IO[bytes]]:
    if isinstance(source, Path):
        with source.open("rb") as stream:
            yield stream
    else:
        archive, member = source
        with _unpacking(archive) as opened, opened.open(member) as stream:
            yield stream


def _install(source: Source, target: Path) -> None:
    check_room(target.parent, _size(source))
    with replacing(target) as temporary, _opened(source) as stream, temporary.open("wb") as file:
        shutil.copyfileobj(stream, file)


def _size(source: Source) -> int:
    if isinstance(source, Path):
        return source.stat().st_size
    archive, member = source
    with _unpacking(archive) as opened:
        return opened.getinfo(member).file_size


def _assign_roles(entry: Published, sources: Sequence[Path]) -> dict[str, Source]:
    roles: dict[str, Source] = {}
    role_of = {file: role for role, file in entry.files.items()}
    for source in sources:
        if not source.is_file():
            raise InputError(f"{source}: no such file")
        if source.stat().st_size > MAX_SIZE:
            raise InputError(f"{source}: larger than {MAX_SIZE >> 30} GB; is it the checkpoint?")
        if source.suffix == ".zip" and entry.archive:
            roles |= {role: (source, member) for role, member in _members(entry, source).items()}
        elif source.name in role_of:
            roles[role_of[source.name]] = source
        elif len(sources) == 1 and len(entry.files) == 1:
            roles["weights"] = source
        else:
            raise InputError(f"{source}: {entry.name!r} consists of {', '.join(entry.files.values())}")
    return roles


@contextmanager
def _unpacking(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Raises ``InputError`` for a damaged archive."""
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    except UNREADABLE as error:
        raise InputError(f"{archive}: not a readable archive ({reason(error)}); get it again") from error


def _members(entry: Published, archive: Path) -> dict[str, str]:
    """Role -> member of a published archive, whatever its top folder is.

    The first path of a role that exactly one member has counts. A role that has an address of its own may be
    absent. Raises ``InputError``.
    """
    found = {}
    with _unpacking(archive) as opened:
        members = {f"/{info.filename}": info for info in opened.infolist()}
    for role, paths in entry.archive.items():
        matches = [[name for name in members if name.endswith(f"/{path}")] for path in paths]
        only = next((names[0] for names in matches if len(names) == 1), None)
        if only is None and role not in entry.url:
            raise InputError(f"{archive}: has {len(matches[0])} members called {paths[0]}; expected one")
        if only is None:
            continue
        if members[only].file_size > MAX_SIZE:
            raise InputError(f"{archive}: member {only} unpacks to more than {MAX_SIZE >> 30} GB")
        found[role] = members[only].filename
    return found


# ------------------------------------------------------------------------------------------- hashes


def _pins(entry: Published) -> dict[str, dict[str, str | int]]:
    path = folder() / entry.name / "pins.json"
    try:
        pins = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return pins if isinstance(pins, dict) else {}


def _known_sha256(entry: Published, role: str) -> str | None:
    pinned = _pins(entry).get(role, {}).get("sha256")
    return str(pinned) if pinned else entry.sha256.get(role)


def _verified_hashes(entry: Published, paths: Mapping[str, Path]) -> dict[str, str]:
    """sha256 per role. Each file is hashed once: its size and modification time are pinned with the hash."""
    if entry.package:
        return {role: sha256_of(path) for role, path in paths.items()}
    pins = _pins(entry)
    hashes = {}
    for role, path in paths.items():
        status = path.stat()
        pin = pins.get(role, {})
        if (pin.get("size"), pin.get("mtime_ns")) == (status.st_size, status.st_mtime_ns):
            hashes[role] = str(pin["sha256"])
            continue
        hashes[role] = sha256_of(path)
        expected = pin.get("sha256") or entry.sha256.get(role)
        if expected and expected != hashes[role]:
            raise InputError(
                f"{path}: has changed (sha256 {hashes[role][:12]}, pinned {str(expected)[:12]}); restore it, "
                f"or accept the new file with `score-to-audio models import {entry.name} {path}`"
            )
        pins[role] = {"sha256": hashes[role], "size": status.st_size, "mtime_ns": status.st_mtime_ns}
        _write_pins(entry, pins)
    return hashes


def _write_pins(entry: Published, pins: Mapping[str, Mapping[str, str | int]]) -> None:
    with (
        suppress(OSError),
        replacing(folder() / entry.name / "pins.json") as temporary,
    ):  # read-only
        temporary.write_text(json.dumps(pins, indent=1, sort_keys=True), "utf-8")


def _joint_sha256(hashes: Mapping[str, str]) -> str:
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    return hashlib.sha256("".join(hashes[role] for role in sorted(hashes)).encode()).hexdigest()
