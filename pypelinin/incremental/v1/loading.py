"""Jobs that load data into a process, as version 1 has them: what they return is the data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pypelinin.incremental.jobs import loading as core
from pypelinin.incremental.v1.base import EVERYTHING, Job, refuse_other
from pypelinin.incremental.v1.invariants import DependingJob


class DataLoadingJob(DependingJob, core.DataLoadingJob):
    """Runs *callback*, which puts data where jobs that depend on this one find them.

    What it returns does not matter: the data changes when what it depends on does.
    """

    def __init__(self, job_id: str | Path, callback: Callable[[], Any]) -> None:
        super().__init__(job_id, callback, allowed_non_locals=EVERYTHING)

    def load(self) -> Any:
        super().load()
        return core.UseInputHashesForOutput()


class AttributeLoadingJob(DependingJob, core.AttributeLoadingJob):
    """Puts what *callback* returns into an attribute of *object*, while jobs need it."""

    def __init__(
        self, job_id: str | Path, object: Any, attribute_name: str, callback: Callable[[], Any]
    ) -> None:
        super().__init__(job_id, object, attribute_name, callback, allowed_non_locals=EVERYTHING)

    def carry_over(self, known: Job) -> None:
        super().carry_over(known)
        if isinstance(known, AttributeLoadingJob):
            check_same_attribute(self, known)

    def load(self) -> Any:
        return core.UseInputHashesForOutput(super().load())


def check_same_attribute(job: Any, known: Any) -> None:
    """Raises JobContractError."""
    if known.object is not job.object:
        refuse_other(job, known, "object")
    if known.attribute_name != job.attribute_name:
        refuse_other(job, known, "attribute")


__all__ = ["AttributeLoadingJob", "DataLoadingJob", "check_same_attribute"]
