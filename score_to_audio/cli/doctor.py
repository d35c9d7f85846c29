"""The health of an installation."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from score_to_audio.cli.options import EXIT_FAILED, Json

if TYPE_CHECKING:
    from packaging.requirements import Requirement

OUR_PACKAGES = ("flows", "adapters", "renderers", "synthesizers")
LITTLE_SPACE = 1.0
"""GB; a minute of stereo sound at 44.1 kHz takes 0.01."""


def doctor(as_json: Json = False) -> None:
    """Check that this installation works; exit code 1 if it does not."""
    found = checks()
    for check in found:
        if as_json:
            print(json.dumps(asdict(check)))
        else:
            print(f"{'ok ' if check.ok else 'BAD'}  {check.name:<15} {check.message}")
    if not all(check.ok for check in found):
        raise typer.Exit(EXIT_FAILED)


def shadowed_packages() -> list[str]:
    """A sentence for each of our packages that another distribution shadows.

    The names are generic; another distribution called ``adapters`` exists, for instance.
    """
    home = Path(__file__).resolve().parents[2]
    problems = []
    for name in OUR_PACKAGES:
        found = importlib.util.find_spec(name)
        origin = Path(found.origin).resolve() if found and found.origin else None
        if origin is None or origin.parents[1] != home:
            where = origin.parent if origin else "nowhere"
            problems.append(
                f"Python finds the package {name!r} at {where}, not at {home / name}: another distribution "
                "has the same name; install score-to-audio into an environment of its own"
            )
    return problems


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    ok: bool
    message: str


def checks() -> list[Check]:
    return [
        Check("python", True, f"{platform.python_version()} on {platform.platform()}"),
        *_version_checks(),
        Check("packages", not shadowed_packages(), " ".join(shadowed_packages()) or "ours"),
        _extras_check(),
        _torch_check(),
        *_store_checks(),
        _checkpoint_check(),
        _prefect_check(),
    ]


def _version_checks() -> list[Check]:
    found = []
    for name in ("score-to-audio", "prefect", "torch", "partitura", "pretty_midi", "numpy", "soundfile"):
        try:
            found.append(Check(name, True, version(name)))
        except PackageNotFoundError:
            found.append(Check(name, False, "not installed; run `pip install score-to-audio` again"))
    return found


def _extras_check() -> Check:
    """Missing extras are no fault, but explain missing plug-ins and measures."""
    from packaging.requirements import Requirement

    try:
        required, extras = requires("score-to-audio"), metadata("score-to-audio").get_all("Provides-Extra")
    except PackageNotFoundError:
        return Check("extras", False, "unknown, since score-to-audio itself is not installed")
    found: dict[str, bool] = {}
    for requirement in map(Requirement, required or ()):
        for extra in extras or ():
            if requirement.marker and requirement.marker.evaluate({"extra": extra}):
                found[extra] = found.get(extra, True) and _is_installed(requirement)
    present, missing = ([name for name in found if found[name] is wanted] for wanted in (True, False))
    absent = f"; not installed: {', '.join(missing)}" if missing else ""
    return Check("extras", True, f"{', '.join(present) or 'none'}{absent}")


def _is_installed(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


def _torch_check() -> Check:
    try:
        import torch
    except Exception as error:
        return Check("device", False, f"torch cannot be loaded: {error}")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return Check("device", True, f"{device}, {torch.get_num_threads()} torch threads of {os.cpu_count()}")


def _store_checks() -> list[Check]:
    from score_to_audio.store import StoreError, default_store

    found: list[Check] = []
    try:
        store = default_store()
        found.append(_folder_check(store.folder, store.limit))
        if store.location != str(store.folder):
            store.check()
            found.append(Check("shared store", True, f"{store.location} answers"))
    except StoreError as error:
        found.append(Check("shared store" if found else "store", False, str(error)))
    return found


def _folder_check(root: Path, limit: int | None) -> Check:
    from score_to_audio.files import may_write_to, nearest
    from score_to_audio.store.limits import VARIABLE, size_in_words

    there = nearest(root)
    if not may_write_to(there):
        problem = f"{there} is not a folder that you may write to; set SCORE_TO_AUDIO_STORE to one that is"
        return Check("store", False, f"{root}: {problem}")
    free = shutil.disk_usage(there).free / 1e9
    if free < LITTLE_SPACE:
        remedy = "make room, for instance with `score-to-audio store prune --local --max-size 20GB`"
        return Check("store", False, f"{root}: {free:.2f} GB free; {remedy}")
    return Check("store", True, f"{root}, {free:.0f} GB free; size limit {size_in_words(limit)} ({VARIABLE})")


def _checkpoint_check() -> Check:
    from score_to_audio.checkpoints import find, folder, is_available, table
    from score_to_audio.errors import InputError

    available = [name for name in table() if is_available(name)]
    problems = []
    for name in available:
        try:
            find(name)
        except (InputError, OSError) as error:
            problems.append(str(error))
    if problems:
        return Check("checkpoints", False, "; ".join(problems))
    return Check("checkpoints", True, f"{', '.join(available) or 'none yet'}; their folder is {folder()}")


def _prefect_check() -> Check:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return Check("prefect api", True, "none configured: batch runs on this machine")
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=3) as answer:
            return Check("prefect api", answer.status == 200, url)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        remedy = "start the server, set PREFECT_API_URL to http://HOST:4200/api, or unset it"
        return Check("prefect api", False, f"{url} does not answer ({reason}); {remedy}")
