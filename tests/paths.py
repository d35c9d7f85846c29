"""Places that tests read from."""

from pathlib import Path

PROJECT = Path(__file__).parents[1]
GOLDEN = PROJECT / "tests" / "golden"
SHARED = PROJECT.parent / "shared"
EXAMPLE_SCORES = PROJECT / "examples" / "scores"
