"""Work spread over processes, which may die: what they had under way is done again by new ones."""

import logging
import os
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from functools import cache
from typing import Any, Generic, TypeVar

from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

from regunlearn.benchmark import signals
from regunlearn.benchmark.errors import BenchmarkError

log = logging.getLogger("regunlearn")

TRIES = 3
"""Workers that may die under one item. From the second on it is alone, so that no other item is blamed."""

POLL = 0.5
"""Seconds between two looks of a worker at whether its parent lives."""

Item = TypeVar("Item")
Result = TypeVar("Result")
Function = Callable[[Any, Any], Any]


def spread(
    function: Function,
    items: Sequence[Any],
    settings: Any,
    jobs: int,
    *,
    lost: Callable[[Any, Any, str], Any] | None = None,
    finish: bool = False,
) -> Generator[Any, None, None]:
    """Yield the function's results as they come, from several processes; in the end, stop if a signal asked for it.

    Args:
        function: called with an item and the settings in a worker.
        items: what to work on.
        settings: where and how.
        jobs: processes.
        lost: makes the result of an item, from the reason, whose workers die again and again.
        finish: work on all items although a signal came.

    Raises:
        BenchmarkError: workers die again and again and there is no `lost`; or a signal came.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(getattr(settings, "threads", 1)))
    waiting, deaths = dict(enumerate(items)), Counter[int]()
    while waiting:
        under_way: dict[int, None] = {}
        # Those that were under way when a worker died come last, and one by one.
        unsuspected = [place for place in waiting if not deaths[place]]
        places = unsuspected or list(waiting)[:1]
        offered = _offered(places, under_way, finish=finish)
        calls = (delayed(_work)(place, function, waiting[place], settings) for place in offered)
        try:
            for place, result in _results(calls, jobs):
                del waiting[place], under_way[place]
                yield result
        except BrokenProcessPool as error:  # killed, or interrupted before it could leave that to the run
            deaths.update(list(under_way))
            log.warning(
                "a worker process ended abruptly: %d under way are done again by new ones.", len(under_way)
            )
            given_up = [place for place in under_way if deaths[place] >= TRIES]
            for place in given_up:
                reason = (
                    f"its worker process ended abruptly {TRIES} times (killed, or out of memory): "
                    f"{_exit_codes(error)}"
                )
                if lost is None:
                    raise BenchmarkError(
                        f"{reason}. All records finished before that are kept. Run the same command again; use fewer "
                        "--jobs if memory is short."
                    ) from error
                yield lost(waiting.pop(place), settings, reason)
        if not finish:
            signals.check()


def _offered(places: Iterable[int], under_way: dict[int, None], *, finish: bool) -> Iterator[int]:
    """Hand out places until a signal asks for the end, and keep which."""
    for place in places:
        if signals.stopping() and not finish:
            return
        under_way[place] = None
        yield place


def _results(calls: Iterable[Any], jobs: int) -> Generator[tuple[int, Any], None, None]:
    pool = Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch="2*n_jobs", batch_size=1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "[0-9]+ tasks which were still being processed", UserWarning)
            yield from pool(calls)
    except BaseException:  # an interrupt and a closed generator too: nobody waits for what is under way
        get_reusable_executor().shutdown(wait=False, kill_workers=True)
        raise


# Help ---------------------------------------------------------------------------------------------------------


class Helpers:
    """Other processes that take over part of the work of this one, which does what none of them has begun."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool = ProcessPoolExecutor(max_workers=count, initializer=_help)

    def share(
        self, function: Callable[[Item], Result], items: Sequence[Item], ahead: int = 1
    ) -> "Shared[Item, Result]":
        """Begin to work on the items in their order and return what gives the results.

        Args:
            function: of a module, called with an item.
            items: what to work on.
            ahead: how many a helper has at hand, so that it need not wait for the next one where they are small.
        """
        return Shared(self._pool, function, items, self._count * ahead)

    def close(self) -> None:
        """Send the helpers home, whatever they are at."""
        self._pool.shutdown(wait=False, kill_workers=True)


class Shared(Generic[Item, Result]):
    """Work that helpers have begun at one end of a list of items; who asks for the results works from the other."""

    def __init__(
        self, pool: ProcessPoolExecutor, function: Callable[[Item], Result], items: Sequence[Item], ahead: int
    ) -> None:
        self._pool, self._function, self._items = pool, function, items
        self._waiting = deque(range(len(items)))
        self._futures: dict[int, Future[Result]] = {}
        self._lock = threading.Lock()
        for _ in range(ahead):
            self._hand_over()

    def _hand_over(self, _done: object = None) -> None:
        """Give the next item to a helper."""
        with self._lock:
            if not self._waiting:
                return
            place = self._waiting.popleft()
            try:
                future = self._pool.submit(self._function, self._items[place])
            except RuntimeError:  # the helpers have died or were sent home: what is left is done here
                self._waiting.append(place)
                return
            self._futures[place] = future
        future.add_done_callback(self._hand_over)

    def results(self) -> list[Result]:
        """Return the results in the order of the items, with those made here that no helper has begun or finished.

        Raises:
            Exception: what the function raises.
        """
        made: dict[int, Result] = {}
        while (place := self._next()) is not None:
            made[place] = self._function(self._items[place])
        for place, item in enumerate(self._items):
            if place not in made:
                made[place] = self._from_helper(place, item)
        return [made[place] for place in range(len(self._items))]

    def _next(self) -> int | None:
        with self._lock:
            return self._waiting.pop() if self._waiting else None

    def _from_helper(self, place: int, item: Item) -> Result:
        try:
            return self._futures[place].result()
        except BrokenProcessPool as error:  # killed, or out of memory: nothing is lost but time
            log.warning("a helping process ended abruptly (%s): its work is done here.", _exit_codes(error))
        except (KeyError, CancelledError):  # never begun
            pass
        return self._function(item)


def _help() -> None:
    signals.leave_to_parent()
    _end_with_parent()


def _work(place: int, function: Function, item: Any, settings: Any) -> tuple[int, Any]:
    _help()
    return place, function(item, settings)


@cache
def _end_with_parent() -> None:
    """From now on, end this process soon after its parent was killed: nobody would take its results."""
    threading.Thread(
        target=_wait_for_end_of, args=(os.getppid(),), name="end-with-parent", daemon=True
    ).start()


def _wait_for_end_of(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL)
    os._exit(1)  # files appear whole or not at all, so nothing has to be tidied


def _exit_codes(error: BrokenProcessPool) -> str:
    """Return what loky says of how they ended, without its advice."""
    _, _, codes = str(error).partition("exit codes of the workers are ")
    return codes.strip() or " ".join(str(error).split())
