"""Calls that arrive together share one round trip.

The first caller to find nobody flushing becomes the leader and flushes what has queued; whoever arrives meanwhile waits for
the next flush, which a waiting caller leads. An idle service therefore adds no delay, and a busy one pays one round trip
and one commit for many calls.
"""

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

from ehc.errors import Text, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

_BUSY = Text("系统繁忙，本次未处理，请稍后重试。", "The service is busy and did not answer in time. Try again.")


class _Ticket(Generic[Item, Result]):
    """One caller's place in the queue. Its lock is held until its result, its failure or its turn to lead has come."""

    __slots__ = ("error", "item", "leads", "result", "woken")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.result: list[Result] = []
        self.error: BaseException | None = None
        self.leads = False
        self.woken = Lock()
        self.woken.acquire()


class Grouped(Generic[Item, Result]):
    """Runs `flush` over whatever has queued, one flush at a time. Threads only; knows nothing of what it flushes."""

    def __init__(
        self,
        flush: Callable[[list[Item]], list[Result]],
        *,
        distinct: Callable[[Item], Hashable] | None = None,
        most: int = 256,
        patience: float = 5.0,
    ) -> None:
        """`distinct`: items with an equal value never share a flush. `patience`: seconds a caller waits at most."""
        self._flush, self._distinct, self._most, self._patience = flush, distinct, most, patience
        self._mutex = Lock()
        self._queue: list[_Ticket[Item, Result]] = []
        self._flushing = False

    def submit(self, item: Item) -> Result:
        """The flush's result for this item. Raises what the flush raised, or `Unavailable` after `patience`."""
        ticket = _Ticket[Item, Result](item)
        with self._mutex:
            self._queue.append(ticket)
            ticket.leads = not self._flushing
            self._flushing = True
        if not ticket.leads:
            self._wait(ticket)
        if ticket.leads:
            self._lead()
        if ticket.error is not None:
            raise ticket.error
        return ticket.result[0]

    def _wait(self, ticket: _Ticket[Item, Result]) -> None:
        if ticket.woken.acquire(timeout=self._patience):
            return
        with self._mutex:
            if ticket.leads or ticket.result or ticket.error:  # woken in this very moment
                return
            if ticket in self._queue:
                self._queue.remove(ticket)
        raise Unavailable(_BUSY, retry_after=2)

    def _lead(self) -> None:
        batch = self._take()
        try:
            results = self._flush([ticket.item for ticket in batch])
            for ticket, result in zip(batch, results, strict=True):
                ticket.result.append(result)
        except BaseException as error:
            for ticket in batch:
                ticket.error = error
        finally:
            self._hand_over(batch)

    def _take(self) -> list[_Ticket[Item, Result]]:
        """The next batch, oldest first; the leader's own ticket is the oldest, so it is always in it."""
        with self._mutex:
            batch: list[_Ticket[Item, Result]] = []
            rest: list[_Ticket[Item, Result]] = []
            seen: set[Hashable] = set()
            for ticket in self._queue:
                mark = self._distinct(ticket.item) if self._distinct else ticket
                (rest if mark in seen or len(batch) >= self._most else batch).append(ticket)
                seen.add(mark)
            self._queue = rest
            return batch

    def _hand_over(self, batch: list[_Ticket[Item, Result]]) -> None:
        with self._mutex:
            heir = self._queue[0] if self._queue else None
            self._flushing = heir is not None
            if heir is not None:
                heir.leads = True
        for ticket in batch:
            ticket.woken.release()
        if heir is not None:
            heir.woken.release()
