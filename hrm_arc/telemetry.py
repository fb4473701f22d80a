"""Memory, temperature and power of this machine; None where it has no such sensor."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

THERMAL = Path("/sys/class/thermal")
HWMON = Path("/sys/class/hwmon")


def peak_memory() -> int:
    """The peak of this process's resident memory, in bytes."""
    # Linux's own high-water mark, because getrusage there includes the parent's memory before exec.
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    if line := next((line for line in lines if line.startswith("VmHWM:")), None):
        return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def temperature(thermal: Path = THERMAL) -> float | None:
    """The temperature of the hottest thermal zone, in degrees Celsius.

    Args:
        thermal: the kernel's folder of thermal zones.
    """
    readings = [
        value for zone in sorted(thermal.glob("thermal_zone*")) if (value := _number(zone / "temp")) is not None
    ]
    return max(readings) / 1000 if readings else None


def power(hwmon: Path = HWMON) -> float | None:
    """The power of the whole board, in watts: rail VDD_IN of the INA3221 power monitor of a Jetson.

    Args:
        hwmon: the kernel's folder of hardware monitors.
    """
    for monitor in sorted(hwmon.glob("hwmon*")):
        for label in sorted(monitor.glob("in*_label")):
            if _text(label) == "VDD_IN":
                number = label.name.removeprefix("in").removesuffix("_label")
                volts, amperes = _number(monitor / f"in{number}_input"), _number(monitor / f"curr{number}_input")
                # The kernel counts in millivolts and milliamperes.
                return None if volts is None or amperes is None else volts * amperes / 10**6
    return None


def _number(path: Path) -> float | None:
    """The number in a file, or None if it cannot be read."""
    text = _text(path)
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    """The text of a file without surrounding space, or None if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
