"""docs/architecture.md sends readers to files that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_file_and_room_on_the_page_exists():
    paths = set(re.findall(r"[\w./]+\.py\b|(?<![\w/])[a-z_]+/(?=[`,|\s])", PAGE))
    assert len(paths) > 40
    roots = (ROOT / "src" / "hysteretic", ROOT)
    assert [path for path in sorted(paths) if not any((root / path).exists() for root in roots)] == []


def test_every_room_is_on_the_page():
    rooms = [path.name for path in (ROOT / "src" / "hysteretic").iterdir() if (path / "__init__.py").is_file()]
    assert [room for room in rooms if f"`{room}/`" not in PAGE] == []
