"""Beginning a graph."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any, Final

from pypelinin.incremental import state
from pypelinin.incremental.enums import RunMode
from pypelinin.incremental.graph import DirConfig, Options, PyPipeGraph


class _Sentinel:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


default: Final = _Sentinel("default")
"""An argument of `new`: what is usual."""
reuse_last_or_default: Final = _Sentinel("reuse_last_or_default")
"""An argument of `new`: as in the last `new` of this process, or what is usual."""
_last = Options()


def new(
    cores: Any = reuse_last_or_default,
    run_mode: Any = reuse_last_or_default,
    dir_config: Any = reuse_last_or_default,
    log_level: Any = reuse_last_or_default,
    allow_short_filenames: Any = reuse_last_or_default,
    log_retention: Any = reuse_last_or_default,
    cache_dir: Any = reuse_last_or_default,
    prevent_absolute_paths: Any = reuse_last_or_default,
    report_done_filter: Any = reuse_last_or_default,
    push_events: Any = reuse_last_or_default,
    log_address: Any = reuse_last_or_default,
    quiet: Any = reuse_last_or_default,
) -> PyPipeGraph:
    """Begin a graph, which is the current one from now on.

    *cores*: how many jobs of one core run at once (usual: all cores). *dir_config*: a DirConfig,
    or the directory for all that is kept between runs (usual: `.ppg/per_script/<script>`).
    *log_retention*: of so many runs logs are kept. *log_address*: (host, port) that gets log
    records as well, None: nobody. *quiet*: nothing is said of how far a run is. *cache_dir* and
    *report_done_filter* are taken and not used. What is not said is as in the last `new` of this
    process.
    """
    given = {
        "cores": cores, "run_mode": run_mode, "dir_config": dir_config, "log_level": log_level,
        "allow_short_filenames": allow_short_filenames, "log_retention": log_retention,
        "prevent_absolute_paths": prevent_absolute_paths, "push_events": push_events,
        "log_address": log_address, "quiet": quiet,
    }  # fmt: skip
    global _last
    usual = Options()
    chosen = {}
    for name, value in given.items():
        source = usual if value is default else _last
        chosen[name] = getattr(source, name) if isinstance(value, _Sentinel) else value
    if isinstance(chosen["dir_config"], (str, Path)):
        chosen["dir_config"] = DirConfig(chosen["dir_config"])
    _check(chosen)
    _last = Options(**chosen)
    options = dataclasses.replace(_last)
    if options.dir_config is None:
        options.dir_config = DirConfig(usual_root())
    graph = PyPipeGraph(options)
    state.change(graph)
    return graph


def _check(chosen: dict[str, Any]) -> None:
    if type(chosen["cores"]) is not int or chosen["cores"] < 0:
        raise ValueError(f"cores is a whole number from 1 on, or ALL_CORES: {chosen['cores']!r}.")
    if not isinstance(chosen["run_mode"], RunMode):
        raise TypeError(f"run_mode is one of RunMode, not {chosen['run_mode']!r}.")
    if not isinstance(chosen["dir_config"], (DirConfig, type(None))):
        raise TypeError(f"dir_config is a DirConfig or a path, not {chosen['dir_config']!r}.")


def usual_root() -> Path:
    """A directory for each script, so that two scripts of one project do not disturb each other."""
    notebook = os.environ.get("JPY_SESSION_NAME")
    if notebook:
        name = Path(notebook).stem
        if name.startswith("Untitled"):
            raise ValueError("Give the notebook a name first: its records are kept under it.")
        return Path(".ppg/per_script") / name
    script = Path(sys.argv[0]).stem if sys.argv and sys.argv[0] else ""
    if script == "run" and Path(".ppg/history").exists():
        return Path(".ppg")  # of a project that was begun before there was one a script
    return Path(".ppg/per_script") / (script or "interactive")


def change_global_pipegraph(graph: PyPipeGraph | None) -> None:
    """Make *graph* the current one."""
    state.change(graph)
