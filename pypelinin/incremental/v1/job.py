"""All classes of jobs, as `pypipegraph.job` has them. Some need modules that few use: these are
imported when they are asked for."""

from __future__ import annotations

import importlib
from typing import Any

from pypelinin.incremental.v1.base import Job, JobList
from pypelinin.incremental.v1.files import (
    FileGeneratingJob,
    MultiFileGeneratingJob,
    MultiTempFileGeneratingJob,
    TempFileGeneratingJob,
    TempFilePlusGeneratingJob,
)
from pypelinin.incremental.v1.growing import DependencyInjectionJob, FinalJob, JobGeneratingJob
from pypelinin.incremental.v1.invariants import (
    FileChecksumInvariant,
    FileInvariant,
    FileTimeInvariant,
    FunctionInvariant,
    MultiFileInvariant,
    ParameterInvariant,
    RobustFileChecksumInvariant,
)
from pypelinin.incremental.v1.loading import AttributeLoadingJob, DataLoadingJob

LATER = {
    "CachedAttributeLoadingJob": "cached", "CachedDataLoadingJob": "cached",
    "CachedJob": "cached", "MemMappedDataLoadingJob": "cached",
    "CombinedPlotJob": "plots", "PlotJob": "plots", "NotebookJob": "notebook",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"pypelinin.incremental.v1.{LATER[name]}")
    return getattr(module, name)


__all__ = [
    "AttributeLoadingJob", "DataLoadingJob", "DependencyInjectionJob", "FileChecksumInvariant",
    "FileGeneratingJob", "FileInvariant", "FileTimeInvariant", "FinalJob", "FunctionInvariant",
    "Job", "JobGeneratingJob", "JobList", "LATER", "MultiFileGeneratingJob",
    "MultiFileInvariant", "MultiTempFileGeneratingJob", "ParameterInvariant",
    "RobustFileChecksumInvariant", "TempFileGeneratingJob", "TempFilePlusGeneratingJob",
]  # fmt: skip
