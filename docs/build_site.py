"""Build the documentation as a site in build/site, strictly and without the network: python docs/build_site.py

The Markdown of docs/ is written to be read in the repository. For the site, files beside docs/ that are pages too (model
cards, the changelog) are copied in, and links to other files of the repository become links to it on the web.
"""

import re
import shutil
import subprocess
import sys
from os.path import relpath
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
STAGE = ROOT / "build" / "docs"
WEB = "https://github.com/OWNER/rarn-edge/blob/main/"
BESIDE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "export/teachers/README.md": "results/teachers.md",
    **{f"export/cards/{card.name}": f"results/cards/{card.name}" for card in (ROOT / "export" / "cards").glob("*.md")},
}
"""Files outside docs/ that are pages of the site, by their path in the repository."""
_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)(?=[)#])")


def staged(text: str, source: str, page: str) -> str:
    """The Markdown of `source` as the site's `page`: every relative link names a page, a picture or the repository.

    Raises:
        SystemExit: a link to a file that is not in the repository.
    """

    def target(match: re.Match[str]) -> str:
        path = (ROOT / source).parent / match[1]
        if not path.exists():
            raise SystemExit(f"{source}: the link to {match[1]} leads nowhere")
        there = path.resolve().relative_to(ROOT).as_posix()
        inside = BESIDE.get(there) or (there.removeprefix("docs/") if there.startswith("docs/") else None)
        return relpath(inside, Path(page).parent).replace("\\", "/") if inside else WEB + there

    return _LINK.sub(target, text)


def main() -> None:
    shutil.rmtree(STAGE, ignore_errors=True)
    pages = {
        f"docs/{path.relative_to(DOCS).as_posix()}": path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")
    }
    for source, page in (pages | BESIDE).items():
        path = STAGE / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(staged((ROOT / source).read_text(encoding="utf-8"), source, page), encoding="utf-8")
    for picture in DOCS.rglob("*.png"):
        copy = STAGE / picture.relative_to(DOCS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, copy)
    program = Path(sys.executable).with_name("zensical")
    sys.exit(subprocess.run([program, "build", "--clean", "--strict"], cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()
