"""`sweep`: trials of all combinations of parameters, until their means are certain enough.

    with sweep({"a": [1, 2, 3]}) as w:
        @w.job
        def measure(id, trial, a):
            return {"value": a * a + random.random()}

The functions of its two frames are in `sweeping`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any, SupportsIndex

from pypelinin.errors import DefinitionError, JobError
from pypelinin.streams import tables
from pypelinin.streams.combinations import Combinations, Variables
from pypelinin.streams.inline import Work, getCpuCount
from pypelinin.streams.stopping import rule_of
from pypelinin.streams.sweeping import Begin, Measured, Plan, Swept, Tried


@contextlib.contextmanager
def sweep(
    variables: Variables | None = None,
    trials: SupportsIndex = 0,
    output: str | os.PathLike[str] | None = None,
    trialsParms: Mapping[str, float] | None = None,
    showProgress: bool = True,
    **options: Any,
) -> Iterator[Sweep]:
    """Run what the block adds to the Work it gets, for each combination, several times each.

    *variables* are a dict of names and values, of which all combinations are run (the first name
    turns fastest), or a list of dicts, which are run as they are. Each job that takes work first
    is called with the parameters, `id` (the number of the combination) and `trial` (the number of
    the trial, both from 0) by name. The last one must return one dict of numbers.

    *trials* above 0 is how many are run of each combination. With 0 they are run until the error
    of each mean is small: below `E` (0.1) of the mean or below `eps` (0.01), with 95 % confidence,
    but at least `min` (3) and at most `max` (10000) trials; *trialsParms* has others of these.
    Below 0 it is the same, and the most.

    At the end the table of means, deviations (`_dev`) and errors (`_err`) is printed, by id; the
    file *output* gets it as CSV, and the Work has it: `w.rows`, and `w.table()` for pandas. The
    program goes on after the block. If the block raises, nothing is run.

    *showProgress* tells on standard error what is begun and done. *options* are those of Work;
    with `on_error="skip"` or `"collect"` a combination does without the trials that failed, and
    the table without a combination of which all did.

    Raises DefinitionError for arguments that make no sense and for results that are no numbers
    or not the same ones in all trials; else what Work raises.
    """
    plan = Plan(
        Combinations({} if variables is None else variables),
        rule_of(trials, {} if trialsParms is None else trialsParms),
        showProgress,
        options.get("on_error", "stop") != "stop",
    )
    work = Sweep(plan, output, options)
    yield work
    work.close()
    try:
        work.run()
    except JobError as error:
        if isinstance(error.exception, DefinitionError):  # what the plan found wrong
            raise error.exception from None
        raise


class Sweep(Work):
    """The Work of a sweep: stages go into the middle of it."""

    def __init__(
        self,
        plan: Plan,
        output: str | os.PathLike[str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__((), **(options or {}))
        self.rows: list[tables.Row] = []
        """A mapping for each combination, by id, once the sweep is done."""
        self._output = None if output is None else tables.check_output(output)
        self._plan = plan
        self.init(self._begin)
        self.frame(store=Swept, emit=Swept.emit)(plan.go_on)
        self.frame(store=Tried, emit=Tried.emit)(plan.look)

    def close(self) -> None:
        """Add the other ends of the frames, and what is done with the table."""
        self._builder.check_closed(but=2)
        self.frameEnd(self._plan.take_trial)
        self.frameEnd(self._plan.take_measured)
        self.result(self._show)

    def table(self) -> Any:  # a pandas.DataFrame, which may not be installed
        """The rows as a pandas.DataFrame. Raises ModuleNotFoundError without pandas."""
        return tables.frame(self.rows)

    def _begin(self) -> Begin:
        """The one piece of work that enters."""
        return Begin(getCpuCount())

    def _show(self, measured: list[Measured]) -> None:
        combinations = self._plan.combinations
        self.rows = [
            tables.row_of(id, combinations[id], trials, names, numbers)
            for id, trials, names, numbers in measured
        ]
        print(tables.text(self.rows))
        if self._output is not None:
            tables.write(self.rows, self._output)
