"""What runs in a slot: the user's class that processes a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar


class Worker:
    """Base of the user's workers; a workers module lists them in its `__all__`.

    *requires* are the names the worker needs; the store's `retrieve` reads them. Attributes named
    like the options of `Job` (`cores = 2`, `memory = "2GB"`, `retries = 3` ...) hold for its jobs
    where job and pipeline say nothing else. A class
    of the same shape that does not inherit works too.
    """

    requires: ClassVar[Sequence[str]] = ()

    def process(self, data: Any) -> Any:
        """Do the work: *data* is what `retrieve` returned, the result goes to `save`."""
        raise NotImplementedError(f"{type(self).__name__} has no process() method")
