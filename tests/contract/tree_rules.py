"""What is true of every file of the tree: its name says what is inside, and nothing ties it to one machine."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

MAX_LINES = 300
VAGUE = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"}
SOURCES = {".py", ".yml", ".sh"}
# Split so that this file does not break its own rule.
REGISTRIES = [
    "pypi" + ".org",
    "files.python" + "hosted.org",
    "registry.npm" + "js.org",
    "docker" + ".io",
    "ghcr" + ".io",
    "quay" + ".io",
    "galaxy" + ".ansible.com",
    "proxy.golang" + ".org",
]
MACHINE_PATHS = ["/" + "work/", "/" + "root/", "/" + "Users/", "/" + "opt/wheels", "mendbook" + "-spec"]
# a home that stands for anybody's is an example
HOME = re.compile(r"/" + r"home/(?!someone/|user/|me/)[a-z]\w*/")


def name_violations(path: str) -> list[str]:
    """A file called after nothing in particular collects everything."""
    # module_utils is ansible's own word, and the key of ansible.cfg
    parts = [part for part in PurePosixPath(path).parts if part != "module_utils"]
    words = {word for part in parts for word in re.split(r"[._-]+", part.lower())}
    found = [f"{path}: {word} says nothing about what is inside" for word in sorted(VAGUE & words)]
    if PurePosixPath(path).suffix == ".yaml" and path != ".pre-commit-config.yaml":
        found.append(f"{path}: .yml is the ending here")
    return found


def text_violations(path: str, text: str, machine: str) -> list[str]:
    """No registry's host name, no path that exists on one machine only (``machine``: where this checkout lies)."""
    found = [f"{path}: names the registry {host}" for host in REGISTRIES if host in text]
    found += [
        f"{path}: names {place}, which is a place on one machine"
        for place in [*MACHINE_PATHS, machine]
        if place in text
    ]
    return found + [f"{path}: names {hit}" for hit in HOME.findall(text)]


def comment_violations(path: str, text: str) -> list[str]:
    """Comments say why: no banners, no note of work to do without its issue."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if re.search(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b(?!.*#\d)", line):
            found.append(f"{path}:{number}: such a note names its issue")
        if re.fullmatch(r"\s*#\s*[-=#*~]{4,}.*", line):
            found.append(f"{path}:{number}: a banner")
    return found


def length_violations(lengths: dict[str, int], allowed: dict[str, str]) -> list[str]:
    """Files over the limit without a written reason, and reasons that are no longer needed."""
    found = [
        f"{path}: {lines} lines, {MAX_LINES} allowed"
        for path, lines in lengths.items()
        if lines > MAX_LINES and path not in allowed
    ]
    return found + [
        f"{path}: on the list of long files, but it is not one" for path in allowed if lengths.get(path, 0) <= MAX_LINES
    ]


def import_violations(path: str, text: str) -> list[str]:
    """Nothing points back: content never imports the wrapper, the wrapper never imports content."""
    if path.startswith(("library/", "module_utils/", "plugins/")):
        pattern, words = r"^\s*(from|import)\s+mendbook\b", "content must not import the mendbook package"
    elif path.startswith("src/"):
        pattern, words = r"^\s*(from|import)\s+(ansible\.)?module_utils\b", "the wrapper must not import module_utils"
    else:
        return []
    return [f"{path}: {words}" for line in text.splitlines() if re.search(pattern, line)]


def source_files(root: Path, names: list[str]) -> dict[str, str]:
    """The text of every source file among ``names``."""
    return {name: (root / name).read_text(encoding="utf-8") for name in names if Path(name).suffix in SOURCES}
