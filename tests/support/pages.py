"""README and documentation as text: their commands, their code blocks, their links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
}


def blocks(text: str, language: str) -> list[tuple[str, str]]:
    """(title, content) of the fenced blocks in a language; the title may be empty."""
    fences = rf'^ *```{language}(?: title="([^"]+)")?\n(.*?)^ *```'
    return re.findall(fences, text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """Every line of the bash blocks, as words."""
    lines = "".join(content for _, content in blocks(text, "bash")).replace("\\\n", " ")
    return [words for line in lines.splitlines() if (words := shlex.split(line, comments=True))]


def inline_code(text: str) -> list[str]:
    """What stands between backticks, outside of blocks."""
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"(?<![\\`])`([^`]+)`", prose)


def links(text: str) -> set[str]:
    """Targets of links and pictures that are not addresses on the web."""
    return set(re.findall(r"\]\((?!https?:)([^)]+)\)", text))


def anchors(text: str) -> set[str]:
    """What a link can name after #: the headings, as GitHub and the site write them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
