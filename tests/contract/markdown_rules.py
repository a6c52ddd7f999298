"""What is true of every page: its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(#[^)]*)?\)")


def link_violations(page: Path) -> list[str]:
    """Relative links of a page that lead to no file."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = [target for target, _ in LINK.findall(text) if not re.match(r"[a-z]+:", target)]
    return [f"{page.name}: {target} is not there" for target in targets if not (page.parent / target).exists()]


def table_codes(text: str, heading: str) -> dict[int, str]:
    """The numbers in the first column of the table below ``heading``, with the second column."""
    part = text.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|\s*`?(\d+)`?\s*\|([^|]*)\|", part, flags=re.MULTILINE)
    return {int(code): words.strip() for code, words in rows}
