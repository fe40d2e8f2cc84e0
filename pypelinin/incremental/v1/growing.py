"""Jobs that change the graph while it runs, and the job that runs when all others are done."""

from __future__ import annotations

from pypelinin.incremental.jobs import growing as core
from pypelinin.incremental.v1.invariants import DependingJob


class JobGeneratingJob(DependingJob, core.JobGeneratingJob):
    """Runs in every run, and makes jobs from what it reads."""


class DependencyInjectionJob(DependingJob, core.DependencyInjectionJob):
    """Runs in every run; the jobs that it returns become inputs of all that depend on it."""


class FinalJob(DependingJob, core.FinalJob):
    """Runs last, in every run in which nothing failed."""


__all__ = ["DependencyInjectionJob", "FinalJob", "JobGeneratingJob"]
