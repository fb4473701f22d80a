"""What a board tells of itself: memory, temperature, power. None where it does not."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

THERMAL = Path("/sys/class/thermal")
HWMON = Path("/sys/class/hwmon")


def peak_memory() -> int:
    """The most memory that this process has held, in bytes."""
    # Linux's own mark: what getrusage tells there counts the process that started this one, too.
    status = Path("/proc/self/status")
    marks = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    if mark := next((line for line in marks if line.startswith("VmHWM:")), None):
        return 1024 * int(mark.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def temperature(thermal: Path = THERMAL) -> float | None:
    """The hottest of the board's thermal zones, in degrees Celsius."""
    readings = [
        value for zone in sorted(thermal.glob("thermal_zone*")) if (value := _number(zone / "temp")) is not None
    ]
    return max(readings) / 1000 if readings else None


def power(hwmon: Path = HWMON) -> float | None:
    """What the board takes, in watts, by the INA3221 meter that Jetsons have: its rail for all input, VDD_IN."""
    for meter in sorted(hwmon.glob("hwmon*")):
        for label in sorted(meter.glob("in*_label")):
            if label.read_text(encoding="utf-8").strip() == "VDD_IN":
                number = label.name.removeprefix("in").removesuffix("_label")
                volts, amperes = _number(meter / f"in{number}_input"), _number(meter / f"curr{number}_input")
                return None if volts is None or amperes is None else volts * amperes / 10**6
    return None


def _number(path: Path) -> float | None:
    """The number in a file of the kernel's, or None where it cannot be read."""
    try:
        return float(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
