"""`tixd analyze --plot` and `--report`: collect what is drawn while windows come, then write it.

Rules: what cannot be written, or drawn because of a missing library, is said before the analysis
begins; a file appears whole or not at all, and takes the place of an older one; packets are kept of
one installation at a time.
"""

from __future__ import annotations

import functools
import os
import re
import stat
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from tixd import bounded, display, errors
from tixd.analysis.traces import Trace
from tixd.commands import html_report, output, plot_installation, plot_many, plot_style
from tixd.commands.plot_installation import MAX_TRACES, Drawing
from tixd.commands.window_values import Analysed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: A time of the column `until`, of the table or of CSV.
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[T ])?\d\d:\d\d(:\d\dZ?)?")


class Pictures:
    """What `tixd analyze` draws beside its tables."""

    def __init__(self, plot: str | None, until: str | None, report: str | None) -> None:
        """Check the wishes; raises UsageError or NotDone.

        plot, report: the files of --plot and --report; until: when the window ends that --window
        names.
        """
        if until and not plot:
            raise click.UsageError("--window chooses what --plot draws: name a file with --plot")
        self._plot = plot
        self._until = _time(until) if until else None
        self._form = _ending(plot, "--plot", plot_style.FORMATS) if plot else ""
        self._windows: list[Analysed] = []
        self._chosen: list[Drawing] = []
        self._installation = _Installation()
        self._several = False
        if report:
            _ending(report, "--report", ("html", "htm"))
        self._report_file = report
        self._report = html_report.Report() if report else None
        self._progress: Callable[[int, int], object] = lambda _done, _total: None
        if self.wanted:
            plot_style.check_installed()
        for file in filter(None, (plot, report)):
            check_place(file)

    @property
    def wanted(self) -> bool:
        """Return whether anything is to be drawn, for which packets must be kept."""
        return bool(self._plot or self._report_file)

    def follow(self, windows: Iterator[Analysed]) -> Iterator[Analysed]:
        """Yield the windows that are added meanwhile; a bar tells how many pictures are drawn."""
        bar = output.progress_bar("drawing") if self._report else nullcontext(self._progress)
        with bar as self._progress:
            yield from windows
            self._complete()

    def _complete(self) -> None:
        """Take the installation whose windows have come as complete."""
        if self._report and self._installation.windows:
            self._report.add(self._installation.windows, self._installation.drawing())
            done = self._report.pictures
            self._progress(done, done)

    def add(self, window: Analysed, trace: Trace | None) -> None:
        """Take the next window; trace: None where it has no short packet."""
        self._windows.append(window)
        if self._installation.windows and self._installation.windows[-1].path != window.path:
            self._several = True
            self._complete()
            self._installation = _Installation()
        self._installation.add(window, trace)
        if trace and self._until and _is_until(trace, self._until):
            self._chosen.append(Drawing([window], [trace], trace))

    def write(self, settings: Mapping[str, str]) -> None:
        """Write the files; raises NotDone. settings: shown in the report, by name."""
        if self._report_file and self._report:
            if not self._windows:
                raise not_written(self._report_file, "there is no window to report")
            write_whole(self._report_file, self._report.page(self._windows, settings))
        if self._plot:
            self._write_plot(self._plot)

    def _write_plot(self, path: str) -> None:
        if not any(window.summary for window in self._windows):
            raise not_written(path, "there is no window to draw")
        draw: Callable[[Figure], None]
        if self._several and self._until is None:
            draw = functools.partial(plot_many.draw, windows=self._windows)
        else:
            draw = functools.partial(plot_installation.draw, drawing=self._drawing(path))
        write_whole(path, plot_style.drawn(self._form, draw))

    def _drawing(self, path: str) -> Drawing:
        """Return the one window that was asked for, or the one installation."""
        if self._until is None and (found := self._installation.drawing()):
            return found
        if not self._chosen:
            raise not_written(path, f"no window ends at {self._until} (UTC)")
        if len(self._chosen) > 1:
            raise not_written(
                path,
                f"{len(self._chosen)} windows end at {self._until} (UTC): name the folder of one"
                " installation, and the day too, as 2026-11-30T03:54",
            )
        return self._chosen[0]


def _time(text: str) -> str:
    """Return a time as a window's `until` has it, to the minute or second; raises UsageError."""
    found = _TIME.fullmatch(text.strip())
    if not found:
        raise click.UsageError(f"--window {text!r}: give a time (UTC) as 03:54 or 2026-11-30T03:54")
    return found[0].replace(" ", "T").rstrip("Z")


def _is_until(trace: Trace, until: str) -> bool:
    ended = display.iso_time(trace.summary.timestamp)
    return ended.startswith(until) or ended.partition("T")[2].startswith(until)


class _Installation:
    """The windows of one installation so far, and the last of their traces."""

    def __init__(self) -> None:
        self.windows: list[Analysed] = []
        self.traces: deque[Trace] = deque(maxlen=MAX_TRACES)

    def add(self, window: Analysed, trace: Trace | None) -> None:
        """Take the next window."""
        self.windows.append(window)
        if trace:
            self.traces.append(trace)

    def drawing(self) -> Drawing | None:
        """Return what can be drawn; None without a short packet."""
        if not self.traces:
            return None
        return Drawing(self.windows, tuple(self.traces), self.traces[-1])


# --- files ---------------------------------------------------------------------------------------


def _ending(path: str, option: str, endings: Sequence[str]) -> str:
    """Return how the name ends, without the dot; raises UsageError for other endings."""
    ending = os.path.splitext(path)[1].removeprefix(".").lower()
    if ending not in endings:
        wanted = " or ".join(f".{each}" for each in endings)
        raise click.UsageError(f"{option} {bounded.printable(path)}: its name must end in {wanted}")
    return ending


def check_place(path: str) -> None:
    """Raise NotDone where no file can be written under this name."""
    folder = os.path.dirname(os.path.realpath(path))
    try:
        kind = os.stat(path).st_mode
    except FileNotFoundError:
        kind = stat.S_IFREG
    except OSError as error:
        raise not_written(path, error.strerror or str(error)) from None
    if not stat.S_ISREG(kind):
        raise not_written(path, "it is there, and no regular file")
    if not os.path.isdir(folder):
        raise not_written(path, "its folder does not exist")
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise not_written(path, "this user may not write to its folder")


def write_whole(path: str, content: bytes) -> None:
    """Write a file that appears whole or not at all; raises NotDone."""
    target = os.path.realpath(path)
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".tixd-")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o666 & ~_umask())
        os.replace(temporary, target)
        temporary = ""
    except OSError as error:
        raise not_written(path, error.strerror or str(error)) from None
    finally:
        if temporary:
            os.unlink(temporary)


def _umask() -> int:
    """Return the mask of new files, which can be read only by setting it."""
    found = os.umask(0o077)
    os.umask(found)
    return found


def not_written(path: str, reason: str) -> errors.NotDone:
    """Return the error of a file that was not written."""
    return errors.NotDone(f"{bounded.printable(path)}: not written: {reason}")
