"""What explanations say, in each language: `languages/en.toml` and `zh.toml`."""

from __future__ import annotations

import tomllib
from pathlib import Path

PLACE = Path(__file__).parent / "languages"
SENTENCES: dict[str, dict[str, str]] = {
    path.stem: tomllib.loads(path.read_text("utf-8")) for path in sorted(PLACE.glob("*.toml"))
}
