"""The names and call shapes of pypipegraph's version 1, over pypelinin.incremental.

import pypelinin.incremental.v1 as pypipegraph

pypipegraph.new_pipegraph()

def hello():
    with open("hello.txt", "w") as op:
        op.write("Hello world")

pypipegraph.FileGeneratingJob("hello.txt", hello)
pypipegraph.run_pipegraph()

Functions of jobs take nothing, or the name of the file; a parameter with a default is left alone.
What is run again, and when, is as in pypelinin.incremental.
"""

from __future__ import annotations

from typing import Any

from pypelinin.incremental.v1 import exceptions, job, resource_coordinators, util
from pypelinin.incremental.v1 import exceptions as ppg_exceptions
from pypelinin.incremental.v1.exceptions import (
    CommunicationFailure,
    CycleError,
    JobContractError,
    JobDiedException,
    NothingChanged,
    PyPipeGraphError,
    PyPipelineGraphError,
    RuntimeError,
    RuntimeException,
)
from pypelinin.incremental.v1.graph import (
    new_pipegraph,
    new_pipeline,
    run,
    run_pipegraph,
)
from pypelinin.incremental.v1.job import (
    AttributeLoadingJob,
    DataLoadingJob,
    DependencyInjectionJob,
    FileChecksumInvariant,
    FileGeneratingJob,
    FileInvariant,
    FileTimeInvariant,
    FinalJob,
    FunctionInvariant,
    Job,
    JobGeneratingJob,
    JobList,
    MultiFileGeneratingJob,
    MultiFileInvariant,
    MultiTempFileGeneratingJob,
    ParameterInvariant,
    RobustFileChecksumInvariant,
    TempFileGeneratingJob,
    TempFilePlusGeneratingJob,
)
from pypelinin.incremental.v1.util import assert_uniqueness_of_object, inside_ppg


def __getattr__(name: str) -> Any:
    """Classes that are imported when they are asked for: see `job`."""
    if name in job.LATER:
        return getattr(job, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AttributeLoadingJob", "CommunicationFailure", "CycleError", "DataLoadingJob",
    "DependencyInjectionJob", "FileChecksumInvariant", "FileGeneratingJob", "FileInvariant",
    "FileTimeInvariant", "FinalJob", "FunctionInvariant", "Job", "JobContractError",
    "JobDiedException", "JobGeneratingJob", "JobList", "MultiFileGeneratingJob",
    "MultiFileInvariant", "MultiTempFileGeneratingJob", "NothingChanged", "ParameterInvariant",
    "PyPipeGraphError", "PyPipelineGraphError", "RobustFileChecksumInvariant", "RuntimeError",
    "RuntimeException", "TempFileGeneratingJob", "TempFilePlusGeneratingJob",
    "assert_uniqueness_of_object", "exceptions", "inside_ppg", "job", "new_pipegraph",
    "new_pipeline", "ppg_exceptions", "resource_coordinators", "run", "run_pipegraph", "util",
]  # fmt: skip
