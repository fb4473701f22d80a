"""``python -m hrm_arc``: the same as the ``hrm`` command."""

from hrm_arc.cli.main import entry

entry()
