"""What the tool runs on: used by `doctor` and by the start of the command line."""

from __future__ import annotations

import importlib.util
import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

OUR_PACKAGES = ("flows", "adapters", "renderers", "synthesizers")


def shadowed_packages() -> list[str]:
    """A sentence for each of our packages in whose place Python would import somebody else's.

    The names are generic; another distribution called ``adapters`` exists, for instance.
    """
    home = Path(__file__).resolve().parents[1]
    problems = []
    for name in OUR_PACKAGES:
        found = importlib.util.find_spec(name)
        origin = Path(found.origin).resolve() if found and found.origin else None
        if origin is None or origin.parents[1] != home:
            where = origin.parent if origin else "nowhere"
            problems.append(
                f"the package {name!r} is found at {where}, not at {home / name}: another distribution has "
                "the same name; install score-to-audio into an environment of its own"
            )
    return problems


@dataclass(frozen=True)
class Check:
    """One line of `doctor`."""

    name: str
    ok: bool
    message: str


def checks() -> list[Check]:
    """The health of this installation."""
    return [
        Check("python", True, f"{platform.python_version()} on {platform.platform()}"),
        *_version_checks(),
        Check("packages", not shadowed_packages(), " ".join(shadowed_packages()) or "ours"),
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


def _torch_check() -> Check:
    try:
        import torch
    except Exception as error:
        return Check("device", False, f"torch cannot be loaded: {error}")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return Check("device", True, f"{device}, {torch.get_num_threads()} torch threads of {os.cpu_count()}")


def _store_checks() -> list[Check]:
    from score_to_audio.store import StoreError, default_store

    try:
        store = default_store()
    except StoreError as error:
        return [Check("store", False, str(error))]
    local = _folder_check(store.folder)
    if store.location == str(store.folder):
        return [local]
    try:
        store.check()
    except StoreError as error:
        return [local, Check("shared store", False, str(error))]
    return [local, Check("shared store", True, f"{store.location} answers")]


def _folder_check(root: Path) -> Check:
    parent = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(parent, os.W_OK):
        return Check("store", False, f"{root} is not writable; set SCORE_TO_AUDIO_STORE to a folder that is")
    space = os.statvfs(parent)
    free = space.f_bavail * space.f_frsize / 1e9
    return Check("store", free > 1, f"{root}, {free:.0f} GB free")


def _checkpoint_check() -> Check:
    from score_to_audio.checkpoints import folder, is_here, table

    here = [name for name in table() if is_here(name)]
    return Check("checkpoints", True, f"{', '.join(here) or 'none yet'} in {folder()}")


def _prefect_check() -> Check:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return Check("prefect api", True, "none configured: batch and compare start a temporary server")
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=3) as answer:
            return Check("prefect api", answer.status == 200, url)
    except (urllib.error.URLError, OSError, ValueError) as error:
        return Check(
            "prefect api", False, f"{url} does not answer ({error}); start it or unset PREFECT_API_URL"
        )
