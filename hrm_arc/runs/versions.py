"""What software a run was made with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("hrm-arc", "torch", "numpy", "lightning-fabric", "onnxruntime")


def versions() -> dict[str, str]:
    """Versions of this package, of Python and of what does the numbers, as far as installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
