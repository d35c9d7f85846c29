"""Write docs/compare.schema.json, the JSON schema of a comparison's file: python -m tools.compare_schema"""

from __future__ import annotations

import json
from pathlib import Path

from score_to_audio.comparison.config import json_schema

PLACE = Path(__file__).parents[1] / "docs" / "compare.schema.json"

if __name__ == "__main__":
    PLACE.write_text(json.dumps(json_schema(), indent=1) + "\n")
    print(PLACE)
