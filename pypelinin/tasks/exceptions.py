"""What can go wrong with tasks; most are of the kinds of Python that the original raised, too."""

from __future__ import annotations

from pypelinin.errors import ClusterError, DefinitionError, JobError, PypelininError


class TaskError(DefinitionError, TypeError):
    """A task cannot be made, hashed or saved as it was declared."""


class NoDataParameter(TaskError, AttributeError):
    """A function that shall receive input has no parameter named data."""


class PipelineError(DefinitionError):
    """A pipeline of tasks cannot be run, saved or loaded as it is."""


class NotAPipeline(PipelineError, TypeError):
    """Something else was given where a Pipeline is needed."""


class NoResults(PipelineError, AttributeError):
    """Results were asked for before a run."""


class ResultMissing(PypelininError, FileNotFoundError):
    """There is no stored result of that task under its hash."""


class ResultDamaged(PypelininError):
    """A stored result cannot be read."""


class DataPathBusy(PypelininError):
    """Another run has the data path."""


class DataPathNotShared(ClusterError):
    """A node does not see the data path of the run, or the run is over."""


class RunFailed(JobError):
    """Tasks of a run failed; *exception* is what the first of them raised."""


__all__ = [
    "DataPathBusy", "DataPathNotShared", "NoDataParameter", "NoResults", "NotAPipeline",
    "PipelineError", "ResultDamaged", "ResultMissing", "RunFailed", "TaskError",
]  # fmt: skip
