"""Writes docs/reference/licences.md: what the locked dependencies are licensed under, as their packages say.

    python tools/licences.py

Reads requirements/constraints.txt and the environment that it runs in, which has to have the extra `dev`.
"""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageMetadata, PackageNotFoundError, distribution
from pathlib import Path

PROJECT = Path(__file__).parents[1]
LOCKED = PROJECT / "requirements" / "constraints.txt"
LISTED = PROJECT / "docs" / "reference" / "licences.md"
LONGEST = 60
"""Characters; some packages put the whole text of the licence where its name belongs."""
MIT = "Permission is hereby granted, free of charge"
HEAD = """# Licences of the dependencies

Every package that `requirements/constraints.txt` locks, for use and for development, with the licence that
the package itself states. Written by `make licences`. Licences of checkpoints are another matter:
`score-to-audio models list --json`.

| package | licence |
|---|---|
"""
ELSEWHERE = """
Locked for other platforms or Python versions, not installed where this list was written (the `nvidia-*` and
`cuda-*` packages come with PyTorch's CUDA builds, under NVIDIA's own licence): {names}.
"""


def main() -> None:
    names = locked_names()
    found = {name: licence for name in names if (licence := licence_of(name))}
    rows = "".join(f"| {name} | {licence} |\n" for name, licence in found.items())
    elsewhere = [name for name in names if name not in found]
    LISTED.write_text(HEAD + rows + ELSEWHERE.format(names=", ".join(elsewhere)), "utf-8")


def locked_names() -> list[str]:
    """Names of the packages in the lock file, each once, sorted."""
    lines = LOCKED.read_text("utf-8").splitlines()
    return sorted({line.partition("==")[0] for line in lines if "==" in line.partition(";")[0]})


def licence_of(name: str) -> str | None:
    """As one short text; None where the package is not installed."""
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return None
    return " ".join((_stated(package.metadata) or _in_its_files(package)).split()).replace("|", "/")


def _stated(said: PackageMetadata) -> str:
    """Empty where the metadata name no licence."""
    if expression := said.get("License-Expression"):
        return str(expression)
    prefix = "License :: "
    classifiers = [text for text in said.get_all("Classifier") or [] if text.startswith(prefix)]
    named = [text.rpartition(" :: ")[2] for text in classifiers if text != "License :: OSI Approved"]
    if named:
        return ", ".join(named)
    first_line = str(said.get("License") or "").strip().split("\n")[0]
    if first_line and len(first_line) <= LONGEST:
        return first_line
    known = re.search(r"(MIT|BSD|Apache|ISC|MPL|Mozilla)", str(said.get("License") or ""))
    return f"{known[1]} (its text, see the package)" if known else ""


def _in_its_files(package: Distribution) -> str:
    texts = [file.read_text() for file in package.files or () if "licenses" in file.parts]
    return "MIT (its text, see the package)" if any(MIT in text for text in texts) else "see the package"


if __name__ == "__main__":
    main()
