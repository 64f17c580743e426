"""Progress on the terminal: one bar a phase, with an estimate of what is left."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Bars:
    """Bars on standard error; off a terminal, a line as each phase begins."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._live = console.is_terminal
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console)
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> "Bars":
        if self._live:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._progress.stop()

    def start(self, what: str, total: int) -> None:
        """Show a new bar."""
        self._bars[what] = self._progress.add_task(what, total=total)
        if not self._live and total:
            self._progress.console.print(f"{what}: {total}")

    def step(self, what: str) -> None:
        """Advance a bar by one."""
        self._progress.advance(self._bars[what])
