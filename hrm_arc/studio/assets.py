"""The files of the page, read once."""

from __future__ import annotations

from importlib import resources

from jinja2 import Environment, PackageLoader

MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def static_files() -> dict[str, tuple[bytes, str]]:
    """The files of the page by name, read once: a request cannot name any other."""
    # The report page's own style and script lie with its templates.
    folders = [
        resources.files(package) / name
        for package, name in (("hrm_arc.studio", "static"), ("hrm_arc.report", "templates"))
    ]
    found = [file for folder in folders for file in folder.iterdir()]
    kinds = {file.name: MEDIA_TYPES.get(f".{file.name.rpartition('.')[2]}") for file in found}
    return {file.name: (file.read_bytes(), kind) for file in found if (kind := kinds[file.name]) is not None}


def shell_of(files: list[str], version: str) -> str:
    """The page itself, which loads these files."""
    environment = Environment(loader=PackageLoader("hrm_arc.studio"), autoescape=True, trim_blocks=True)
    return environment.get_template("shell.html").render(version=version, files=files)
