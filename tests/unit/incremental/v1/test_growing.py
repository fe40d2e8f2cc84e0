"""Jobs of version 1 that make jobs, and the one that runs last."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def writing(ppg: ModuleType, name: str) -> Any:
    return ppg.FileGeneratingJob(name, lambda: Path(name).write_text(name))


def test_jobs_are_made_while_it_runs(ppg: ModuleType) -> None:
    source = writing(ppg, "list")
    maker = ppg.JobGeneratingJob("maker", lambda: [writing(ppg, f"out{n}") for n in range(3)])
    maker.depends_on(source)
    ppg.run_pipegraph()
    assert sorted(path.name for path in Path().glob("out*")) == ["out0", "out1", "out2"]


def test_what_is_injected_is_there_before_its_reader_runs(ppg: ModuleType) -> None:
    parts = ("p1", "p2")

    def join() -> None:
        Path("all").write_text("".join(Path(one).read_text() for one in parts))

    injecting = ppg.DependencyInjectionJob("inject", lambda: [writing(ppg, one) for one in parts])
    ppg.FileGeneratingJob("all", join).depends_on(injecting)
    ppg.run_pipegraph()
    assert Path("all").read_text() == "p1p2"


def test_stray_jobs_of_an_injection_are_an_error_unless_allowed(ppg: ModuleType) -> None:
    def make() -> None:
        writing(ppg, "stray")

    out = writing(ppg, "out")
    out.depends_on(ppg.DependencyInjectionJob("inject", make))
    with pytest.raises(ppg.RuntimeError) as info:
        ppg.run_pipegraph()
    assert isinstance(info.value.exceptions[0], ppg.JobContractError)
    ppg.new_pipegraph(quiet=True, interactive=False)
    out = writing(ppg, "out")
    out.depends_on(
        ppg.DependencyInjectionJob("inject", make, check_for_dependency_injections=False)
    )
    ppg.run_pipegraph()
    assert Path("stray").exists()


def test_the_final_job_runs_last_and_only_if_all_went_well(ppg: ModuleType) -> None:
    final = ppg.FinalJob("last", lambda: Path("last").write_text(str(Path("out").exists())))
    writing(ppg, "out")
    with pytest.raises(ppg.JobContractError):
        final.depends_on(ppg.ParameterInvariant("p", 1))
    with pytest.raises(ppg.JobContractError):
        writing(ppg, "other").depends_on(final)
    ppg.run_pipegraph()
    assert Path("last").read_text() == "True"


def test_a_maker_ignores_changes_of_its_code_if_that_was_said(ppg: ModuleType) -> None:
    maker = ppg.JobGeneratingJob("maker", lambda: None)
    assert maker.prerequisites
    maker.ignore_code_changes()
    assert not maker.prerequisites


def test_what_is_no_function_is_refused(ppg: ModuleType) -> None:
    with pytest.raises(ValueError):
        ppg.JobGeneratingJob("maker", 3)
