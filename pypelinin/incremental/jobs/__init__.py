"""All kinds of jobs."""

from pypelinin.incremental.jobs.base import DependsOnInvariant, Job, JobList
from pypelinin.incremental.jobs.cached import (
    CachedAttributeLoadingJob,
    CachedDataLoadingJob,
    CachedDictEntryLoadingJob,
    CachedJobTuple,
)
from pypelinin.incremental.jobs.combined import CombinedPlotJob
from pypelinin.incremental.jobs.external import ExternalJob, ExternalOutputPath, ShellJob
from pypelinin.incremental.jobs.files import (
    FileGeneratingJob,
    MultiFileGeneratingJob,
    MultiTempFileGeneratingJob,
    TempFileGeneratingJob,
    TempFilePlusGeneratingJob,
)
from pypelinin.incremental.jobs.growing import DependencyInjectionJob, FinalJob, JobGeneratingJob
from pypelinin.incremental.jobs.invariants import (
    FileInvariant,
    FunctionInvariant,
    NotebookInvariant,
    ParameterInvariant,
)
from pypelinin.incremental.jobs.loading import (
    AttributeLoadingJob,
    DataLoadingJob,
    DictEntryLoadingJob,
    UseInputHashesForOutput,
)
from pypelinin.incremental.jobs.memmapped import MemMappedDataLoadingJob
from pypelinin.incremental.jobs.notebook import NotebookJob
from pypelinin.incremental.jobs.plots import PlotJob, PlotJobTuple
from pypelinin.incremental.jobs.shared import SharedMultiFileGeneratingJob

__all__ = [
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
    "ExternalJob",
    "ExternalOutputPath",
    "FileGeneratingJob",
    "FileInvariant",
    "FinalJob",
    "FunctionInvariant",
    "Job",
    "JobGeneratingJob",
    "JobList",
    "MemMappedDataLoadingJob",
    "MultiFileGeneratingJob",
    "MultiTempFileGeneratingJob",
    "NotebookInvariant",
    "NotebookJob",
    "ParameterInvariant",
    "PlotJob",
    "PlotJobTuple",
    "SharedMultiFileGeneratingJob",
    "ShellJob",
    "TempFileGeneratingJob",
    "TempFilePlusGeneratingJob",
    "UseInputHashesForOutput",
]
