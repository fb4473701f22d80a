"""What MkDocs does to the pages: takes in some from the repository's root, and mends links for the site.

On GitHub a page of ``docs/`` links to any file of the repository. The site holds ``docs/`` and ``PAGES`` only. A link
to one of these leads to its page; a link to any other file leads to the repository's address if ``repo_url`` of
``mkdocs.yml`` gives one, and is otherwise written as the file's path in code.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
# Files of the repository's root that are pages of the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "records/README.md": "records.md",
}
SOURCES = {page: source for source, page in PAGES.items()}
# [text](target) and ![text](target), with code in the text or not; targets of this repository have no spaces.
LINK = re.compile(r"(?P<image>!?)\[(?P<text>(?:`[^`]*`|[^\[\]`])*)\]\((?P<target>[^()\s]+)\)")
FENCED = re.compile(r"^(```.*?^```[^\n]*$)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in ``docs/``."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Mend the links of a page, except in fenced code."""
    here = page.file.src_uri
    source = SOURCES.get(here, f"docs/{here}")
    parts = FENCED.split(markdown)
    parts[::2] = [LINK.sub(lambda match: _mended(match, source, here, config, files), part) for part in parts[::2]]
    return "".join(parts)


def _mended(match: re.Match[str], source: str, here: str, config: MkDocsConfig, files: Files) -> str:
    """One link of the file ``source`` of the repository, which is the page ``here`` of the site."""
    path, _, anchor = match["target"].partition("#")
    if not path or "://" in path or path.startswith("mailto:"):
        return match[0]
    file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    target = PAGES.get(file, file.removeprefix("docs/"))
    if (file in PAGES or file.startswith("docs/")) and files.get_file_from_path(target):
        relative = posixpath.relpath(target, posixpath.dirname(here) or ".")
        return f"{match['image']}[{match['text']}]({relative}{f'#{anchor}' if anchor else ''})"
    if not (ROOT / file).exists():
        return match[0]  # MkDocs warns of it.
    if config.repo_url:
        return f"[{match['text']}]({config.repo_url.rstrip('/')}/blob/HEAD/{file})"
    return f"`{file}`" if match["text"].startswith("`") else f"{match['text']} (`{file}`)"
