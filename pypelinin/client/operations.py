"""Looking after a cluster: its nodes, paused runs, and why a job is in its state."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from pypelinin.client.described import rebuilt
from pypelinin.client.requests import Requests
from pypelinin.client.verdicts import no_such_run
from pypelinin.errors import NotFound
from pypelinin.graph.job import Job
from pypelinin.pipeline import Pipeline
from pypelinin.wire import messages
from pypelinin.wire.definitions import BATCH_ROWS_MAX
from pypelinin.wire.messages import RunStatus

Run = Pipeline | str


def ids_of(runs: Run | Iterable[Run]) -> list[str]:
    """Of one run or several."""
    listed = [runs] if isinstance(runs, (Pipeline, str)) else list(runs)
    return [run if isinstance(run, str) else str(run.id) for run in listed]


class Operations(Requests):
    """What `pypelinin nodes`, `drain`, `pause`, `explain` and their like ask."""

    def cluster(self) -> messages.Cluster:
        """Nodes, queues and versions."""
        return self._ask(messages.GetCluster, messages.Cluster)

    def slots(self) -> int:
        """Slots of all Brokers, at least 1."""
        return max(1, sum(node.slots for node in self.cluster().nodes))

    def drain(self, nodes: str | Iterable[str], why: str = "") -> messages.Cluster:
        """These nodes finish what runs there and get nothing new until `undrain`, or until their
        Broker is started again. Returns the cluster; raises NotFound for an unknown name, and then
        none of them is drained.
        """
        return self._set_draining(nodes, why or f"{self.submitter} asked for it")

    def undrain(self, nodes: str | Iterable[str]) -> messages.Cluster:
        """These nodes get jobs again. Raises NotFound for an unknown name."""
        return self._set_draining(nodes, "")

    def _set_draining(self, nodes: str | Iterable[str], why: str) -> messages.Cluster:
        names = (nodes,) if isinstance(nodes, str) else tuple(nodes)
        return self._ask(lambda n: messages.DrainNodes(n, names, why), messages.Cluster)

    def pause(self, runs: Run | Iterable[Run]) -> list[RunStatus]:
        """Nothing more of these runs begins until `resume`; what runs goes on. Raises NotFound."""
        return self._set_paused(ids_of(runs), True)

    def resume(self, runs: Run | Iterable[Run]) -> list[RunStatus]:
        """These runs go on. Raises NotFound."""
        return self._set_paused(ids_of(runs), False)

    def _set_paused(self, runs: list[str], paused: bool) -> list[RunStatus]:
        found: list[RunStatus] = []
        for i in range(0, len(runs), BATCH_ROWS_MAX):
            some = tuple(runs[i : i + BATCH_ROWS_MAX])
            ask = partial(messages.PauseRuns, runs=some, paused=paused)
            answer = self._ask(ask, messages.Status)
            self._all_known(some, answer)
            found += answer.runs
        return found

    @staticmethod
    def _all_known(runs: Iterable[str], answer: messages.Status) -> None:
        known = {run.run for run in answer.runs}
        for run in runs:
            if run not in known:
                raise no_such_run(run)

    def describe(self, run: str) -> tuple[Pipeline, messages.Definition]:
        """A run whole: its pipeline, and its jobs' states and failures as the Router has them.

        The data of the pipeline and its jobs is given if it is plain, else None.
        """
        answer = self._ask(lambda n: messages.GetDefinition(n, run), messages.Definition)
        return rebuilt(run, answer), answer

    def explain(self, run: Run, job: Job | str | int) -> messages.Explanation:
        """Why a job, given by name or number, waits, runs, failed or never ran. Raises NotFound."""
        (name,) = ids_of(run)
        number = self.job_number(name, job)
        return self._ask(lambda n: messages.ExplainJob(n, name, number), messages.Explanation)

    def job_number(self, run: str, job: Job | str | int) -> int:
        """The number of a job by its name or number. Raises NotFound."""
        if isinstance(job, int):
            return job
        wanted = job.name if isinstance(job, Job) else job
        names = [one.name for one in self.describe(run)[0].jobs]
        if wanted in names:
            return names.index(wanted)
        if wanted.isdecimal() and int(wanted) < len(names):
            return int(wanted)
        raise NotFound(
            f"Run {run} has no job {wanted!r}.", remedy=f"`pypelinin show {run}` names them."
        )
