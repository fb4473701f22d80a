"""Standard output and standard error whose readers may go away: that costs messages, and nothing else.

Writing never raises. A reader that went away (a closed pipe, a closed terminal) is not an error. A result that did
not reach standard output for another reason, such as a full disk, is: ``finish`` reports it.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# ASCII forms of what this package prints beyond ASCII; other characters become escapes.
ASCII_FORMS = {
    **dict(zip("▁▂▃▄▅▆▇█→×−–━─│▀·", "_.-:=+*#>x----|#.", strict=True)),
    "…": "...",
    "±": "+-",
}
READABLE = "hrm-arc-readable"


def _readable(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: what an encoding lacks in ASCII, or as an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    forms = [ASCII_FORMS.get(char) or char.encode("ascii", "backslashreplace").decode() for char in lacking]
    return "".join(forms), error.end


class _Descriptor(io.RawIOBase):
    """Writes to a file descriptor; a failure is remembered and not raised.

    Args:
        descriptor: of an open file.
        retry: whether to try again after a failure. Messages may go on when a disk has room again; a result with a
            hole in it is worth nothing.
    """

    def __init__(self, descriptor: int, retry: bool):
        self._descriptor = descriptor
        self._retry = retry
        self._is_terminal = os.isatty(descriptor)
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._is_terminal

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: ReadableBuffer, /) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and (self.error is None or self._retry):
            try:
                done += os.write(self._descriptor, view[done:])
            except BlockingIOError:  # Another program has made the pipe or terminal non-blocking.
                select.select([], [self._descriptor], [], 1.0)
            except OSError as error:
                self.error = error
                break
        return len(view)

    @property
    def lost(self) -> OSError | None:
        """Why something was not written, unless its reader went away."""
        if self.error is None or self.error.errno == errno.EPIPE:
            return None
        return None if self._is_terminal and self.error.errno == errno.EIO else self.error


class Streams:
    """Replaces standard output and standard error of this process."""

    def __init__(self) -> None:
        codecs.register_error(READABLE, _readable)
        # What is closed would be the descriptor of the next file that is opened, and messages would go into it.
        for descriptor in range(3):
            _occupy(descriptor)
        self._out = _Descriptor(1, retry=False)
        sys.stdout = _text(self._out, sys.stdout)
        sys.stderr = _text(_Descriptor(2, retry=True), sys.stderr)

    def finish(self, status: int) -> int:
        """Flush; returns the exit status, which is 1 if a result was lost and all else went well."""
        with contextlib.suppress(ValueError):  # Somebody has closed it.
            sys.stdout.flush()
        if self._out.lost is not None:
            what = "the work is done, but its result " if status == 0 else ""
            print(f"error: standard output: {what}cannot be written: {self._out.lost.strerror}", file=sys.stderr)
            status = status or 1
        with contextlib.suppress(ValueError):
            sys.stderr.flush()
        return status


def _text(raw: _Descriptor, former: TextIO | None) -> TextIO:
    """A text stream with the encoding of the former one; messages and terminals are written line by line."""
    encoding = getattr(former, "encoding", None) or "utf-8"
    by_line = raw.isatty() or raw.fileno() == 2
    # TextIOWrapper collects text itself. A BufferedWriter would refuse the message of a signal's handler that
    # interrupts another message.
    return io.TextIOWrapper(cast(BinaryIO, raw), encoding, READABLE, line_buffering=by_line)


def _occupy(descriptor: int) -> None:
    """Open a closed descriptor to nowhere."""
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != descriptor:
            os.dup2(opened, descriptor)
            os.close(opened)
        os.set_inheritable(descriptor, True)
