"""Ctrl-C and other signals while a run goes on: none of them loses what is done.

On a console the first Ctrl-C says how a run is ended, and a second one within two seconds ends
it; elsewhere the first one does. SIGUSR1 ends it everywhere; a terminal that goes away does not
end it. Handlers only write down what has come; the run looks at it. Code of a job that runs in
this process is the exception: it is left by KeyboardInterrupt.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pypelinin.incremental import inside
from pypelinin.incremental.enums import RunMode
from pypelinin.incremental.watching import Watcher

if TYPE_CHECKING:
    from pypelinin.incremental.outcomes import RecordedJobOutcome
    from pypelinin.incremental.running import Running

TWICE_S = 2.0
HINT = "Ctrl-C does not end the run. {} Ctrl-C again within {:.0f} s to end it."


class Interrupting(Watcher):
    """*reads_commands* tells whether `abort` can be typed, *say* writes to people."""

    def __init__(
        self,
        run_mode: RunMode,
        reads_commands: Callable[[], bool] = lambda: False,
        say: Callable[[str], None] = lambda _text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asks_twice = run_mode.is_interactive()
        self._reads_commands = reads_commands
        self._say = say
        self._clock = clock
        self._running: Running | None = None
        self._former: dict[signal.Signals, Any] = {}
        self._pressed_at = -TWICE_S
        self._hint_is_due = False
        self._shall_abort = False
        self._is_waking = False

    def began(self, running: Running) -> None:
        self._running = running
        self._shall_abort = self._hint_is_due = False
        if threading.current_thread() is not threading.main_thread():
            return  # signals are the business of the main thread
        self._take(signal.SIGINT, self._interrupted)
        self._take(signal.SIGUSR1, self._told_to_abort)
        if self._asks_twice:
            self._take(signal.SIGHUP, _nothing)

    def _take(self, number: signal.Signals, handler: Callable[[int, Any], None]) -> None:
        former = signal.getsignal(number)
        if former is None or (former is signal.SIG_IGN and number is not signal.SIGUSR1):
            return  # not set from Python; or it was begun in the background, so that it is ignored
        self._former[number] = former
        signal.signal(number, handler)

    # --- in a handler ----------------------------------------------------------------------------

    def _interrupted(self, number: int, _frame: Any) -> None:
        now = self._clock()
        if self._asks_twice and now - self._pressed_at > TWICE_S:
            self._pressed_at = now
            if inside.is_interruptible:  # nobody looks before it has ended
                os.write(2, f"\n{self._hint()}\n".encode())
            else:
                self._hint_is_due = True
                self._wake()
            return
        self._told_to_abort(number, None)

    def _told_to_abort(self, _number: int, _frame: Any) -> None:
        self._shall_abort = True
        if inside.is_interruptible:
            raise KeyboardInterrupt
        self._wake()

    def _wake(self) -> None:
        """A handler may come while another one is in here: that one's word is enough."""
        if self._running is not None and not self._is_waking:
            self._is_waking = True
            try:
                self._running.wake()
            finally:
                self._is_waking = False

    # --- in the run ------------------------------------------------------------------------------

    def _hint(self) -> str:
        press = "Type 'abort' and Enter, or press" if self._reads_commands() else "Press"
        return HINT.format(press, TWICE_S)

    def beat(self) -> None:
        if self._hint_is_due:
            self._hint_is_due = False
            self._say(f"\n{self._hint()}")
        if self._shall_abort and self._running is not None:
            self._shall_abort = False
            self._say("\nThe run is ended; what is done is kept.")
            self._running.abort()

    def over(self, outcomes: dict[str, RecordedJobOutcome]) -> None:
        self._running = None
        while self._former:
            number, former = self._former.popitem()
            with contextlib.suppress(ValueError):
                signal.signal(number, former)


def _nothing(_number: int, _frame: Any) -> None:
    """Not SIG_IGN, which the jobs would inherit."""
