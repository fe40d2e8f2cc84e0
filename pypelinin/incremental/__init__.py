"""Make-like jobs: only what truly changed is done again.

import pypelinin.incremental as ppg

ppg.new()

def hello(path):
    path.write_text("Hello world")

ppg.FileGeneratingJob("hello.txt", hello)
ppg.run()
"""

from __future__ import annotations

from typing import Any

from pypelinin.incremental import state, util
from pypelinin.incremental.enums import JobKind, JobOutcome, Resources, RunMode
from pypelinin.incremental.exceptions import (
    FatalGraphException,
    FunctionUsesUndeclaredNonLocalsError,
    HistoryLoadingFailed,
    JobCanceled,
    JobContractError,
    JobDied,
    JobError,
    JobEvaluationFailed,
    JobOutputConflict,
    JobRedefinitionError,
    JobsFailed,
    NotADag,
    PPGException,
    ProjectLocked,
    RunFailed,
    RunFailedInternally,
)
from pypelinin.incremental.graph import ALL_CORES, DirConfig, PyPipeGraph
from pypelinin.incremental.hashers import ValuePlusHash
from pypelinin.incremental.jobs import (
    AttributeLoadingJob,
    CachedAttributeLoadingJob,
    CachedDataLoadingJob,
    CachedDictEntryLoadingJob,
    CachedJobTuple,
    CombinedPlotJob,
    DataLoadingJob,
    DependencyInjectionJob,
    DependsOnInvariant,
    DictEntryLoadingJob,
    ExternalJob,
    ExternalOutputPath,
    FileGeneratingJob,
    FileInvariant,
    FinalJob,
    FunctionInvariant,
    Job,
    JobGeneratingJob,
    JobList,
    MemMappedDataLoadingJob,
    MultiFileGeneratingJob,
    MultiTempFileGeneratingJob,
    NotebookInvariant,
    NotebookJob,
    ParameterInvariant,
    PlotJob,
    PlotJobTuple,
    SharedMultiFileGeneratingJob,
    ShellJob,
    TempFileGeneratingJob,
    TempFilePlusGeneratingJob,
    UseInputHashesForOutput,
)
from pypelinin.incremental.outcomes import RecordedJobOutcome
from pypelinin.incremental.ppg1 import replace_ppg1, unreplace_ppg1
from pypelinin.incremental.start import change_global_pipegraph, default, new, reuse_last_or_default
from pypelinin.incremental.util import assert_uniqueness_of_object, inside_ppg


def run(*args: Any, **options: Any) -> dict[str, RecordedJobOutcome]:
    """Run the graph that is current; see PyPipeGraph.run. Raises ValueError without a graph."""
    return state.current().run(*args, **options)


def __getattr__(name: str) -> Any:
    if name == "global_pipegraph":
        return state.graph
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "ALL_CORES",
    "AttributeLoadingJob",
    "CachedAttributeLoadingJob",
    "CachedDataLoadingJob",
    "CachedDictEntryLoadingJob",
    "CachedJobTuple",
    "CombinedPlotJob",
    "DataLoadingJob",
    "DependencyInjectionJob",
    "DependsOnInvariant",
    "DictEntryLoadingJob",
    "DirConfig",
    "ExternalJob",
    "ExternalOutputPath",
    "FatalGraphException",
    "FileGeneratingJob",
    "FileInvariant",
    "FinalJob",
    "FunctionInvariant",
    "FunctionUsesUndeclaredNonLocalsError",
    "HistoryLoadingFailed",
    "Job",
    "JobCanceled",
    "JobContractError",
    "JobDied",
    "JobError",
    "JobEvaluationFailed",
    "JobGeneratingJob",
    "JobKind",
    "JobList",
    "JobOutcome",
    "JobOutputConflict",
    "JobRedefinitionError",
    "JobsFailed",
    "MemMappedDataLoadingJob",
    "MultiFileGeneratingJob",
    "MultiTempFileGeneratingJob",
    "NotADag",
    "NotebookInvariant",
    "NotebookJob",
    "PPGException",
    "ParameterInvariant",
    "PlotJob",
    "PlotJobTuple",
    "ProjectLocked",
    "PyPipeGraph",
    "RecordedJobOutcome",
    "Resources",
    "RunFailed",
    "RunFailedInternally",
    "RunMode",
    "SharedMultiFileGeneratingJob",
    "ShellJob",
    "TempFileGeneratingJob",
    "TempFilePlusGeneratingJob",
    "UseInputHashesForOutput",
    "ValuePlusHash",
    "assert_uniqueness_of_object",
    "change_global_pipegraph",
    "default",
    "inside_ppg",
    "new",
    "replace_ppg1",
    "reuse_last_or_default",
    "run",
    "unreplace_ppg1",
    "util",
]
