"""A graph as text for others: DOT, SVG, GraphML, and as Python that makes one of its shape.

`dot` makes the better picture; where it is not installed, `svg` draws layers itself.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pypelinin.errors import DefinitionError
from pypelinin.graph.svg import Box, svg_of
from pypelinin.incremental.enums import JobKind, JobOutcome
from pypelinin.incremental.watching import Watcher

if TYPE_CHECKING:
    from pypelinin.incremental.definition import Graph
    from pypelinin.incremental.jobs.base import Job
    from pypelinin.incremental.running import Running

SHAPES = {
    JobKind.Invariant: "ellipse", JobKind.Output: "box", JobKind.Temp: "box",
    JobKind.Loading: "cylinder", JobKind.JobGenerating: "diamond", JobKind.Final: "octagon",
}  # fmt: skip
COLOURS = {
    JobOutcome.Success: "#b7e1b5", JobOutcome.Skipped: "#e8e8e8", JobOutcome.Failed: "#f4a3a3",
    JobOutcome.UpstreamFailed: "#f9d9b0", JobOutcome.Pruned: "#ffffff",
    JobOutcome.NotYet: "#b9d3f0",
}  # fmt: skip
WHITE = "#ffffff"
LABEL_MAX = 60
DOT_TIMEOUT_S = 120
DEBUG_FILE = "subgraph_debug.py"


def edges_of(graph: Graph, ids: Iterable[str] | None = None) -> Iterator[tuple[str, str]]:
    """(upstream, job) of all jobs, or of those of *ids* among themselves."""
    kept = None if ids is None else set(ids)
    producers = graph.outputs_to_job_ids
    for job_id in graph.jobs if kept is None else [one for one in graph.jobs if one in kept]:
        upstreams = dict.fromkeys(producers[name] for name in graph.job_inputs[job_id])
        for upstream in upstreams:
            if kept is None or upstream in kept:
                yield upstream, job_id


def label_of(job_id: str) -> str:
    """The id, cut in its middle if it is long."""
    if len(job_id) <= LABEL_MAX:
        return job_id
    half = (LABEL_MAX - 3) // 2
    return f"{job_id[:half]}...{job_id[-half:]}"


def colour_of(job: Job) -> str:
    """How it ended, or would end; white if that is not known."""
    return WHITE if job.outcome is None else COLOURS.get(job.outcome.outcome, WHITE)


# --- formats ------------------------------------------------------------------------------------


def dot(graph: Graph) -> str:
    """The graph in the DOT language."""
    lines = ["digraph {", "  rankdir=LR;", "  node [style=filled, fontsize=10];"]
    for job_id, job in graph.jobs.items():
        dashed = ', style="filled,dashed"' if job.kind is JobKind.Temp else ""
        lines.append(
            f"  {_quoted(job_id)} [label={_quoted(label_of(job_id))}, shape={SHAPES[job.kind]}, "
            f'fillcolor="{colour_of(job)}"{dashed}];'
        )
    lines += (f"  {_quoted(up)} -> {_quoted(job_id)};" for up, job_id in edges_of(graph))
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))


def graphml(graph: Graph) -> str:
    """The graph as GraphML; of each job its class, its kind and how it ended."""
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">',
        *(f'  <key id="{name}" for="node" attr.name="{name}" attr.type="string"/>'
          for name in ("class", "kind", "outcome")),
        '  <graph edgedefault="directed">',
    ]  # fmt: skip
    for job_id, job in graph.jobs.items():
        outcome = "" if job.outcome is None else job.outcome.outcome.name
        facts = (("class", type(job).__name__), ("kind", job.kind.value), ("outcome", outcome))
        data = "".join(f'<data key="{key}">{escape(value)}</data>' for key, value in facts)
        lines.append(f'    <node id="{escape(job_id)}">{data}</node>')
    lines += (
        f'    <edge source="{escape(up)}" target="{escape(job_id)}"/>'
        for up, job_id in edges_of(graph)
    )
    return "\n".join([*lines, "  </graph>", "</graphml>", ""])


def svg(graph: Graph, with_dot: bool | None = None) -> str:
    """The graph as a picture; *with_dot*: by that program (None: if it is installed).

    Raises DefinitionError if it is asked for and missing, or fails.
    """
    program = shutil.which("dot")
    if with_dot is None:
        with_dot = program is not None
    if not with_dot:
        return drawn(graph)
    if program is None:
        raise DefinitionError("There is no program 'dot'.", remedy="Install the package graphviz.")
    done = subprocess.run(
        [program, "-Tsvg"], input=dot(graph), capture_output=True, text=True,
        timeout=DOT_TIMEOUT_S, check=False,
    )  # fmt: skip
    if done.returncode:
        raise DefinitionError(f"dot failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def drawn(graph: Graph) -> str:
    """The picture as we draw it: a column for each step away from what depends on nothing."""
    boxes = [
        Box(job_id, label_of(job_id), str(job), colour_of(job),
            dashed=job.kind is JobKind.Temp, round=job.kind is JobKind.Invariant)
        for job_id, job in graph.jobs.items()
    ]  # fmt: skip
    return svg_of(boxes, list(edges_of(graph)))


# --- what other libraries and people get --------------------------------------------------------


def networkx_graph(graph: Graph) -> Any:
    """The graph as a networkx.DiGraph of job ids, edges from what is read to who reads.

    Raises DefinitionError if networkx is not installed.
    """
    try:
        networkx = importlib.import_module("networkx")
    except ImportError:
        raise DefinitionError(
            "job_dag is a graph of networkx, which is not installed.",
            remedy="Install 'pypelinin[incremental]'.",
        ) from None
    dag = networkx.DiGraph()
    dag.add_nodes_from(graph.jobs)
    dag.add_edges_from(edges_of(graph))
    return dag


def dump(graph: Graph) -> Path:
    """Write the graph as GraphML beside the logs of a run; returns the file."""
    config = graph.dir_config
    directory = Path(config.root if config.log_dir is None else str(config.log_dir))
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{graph.time_str}.pre_prune.graphml"
    path.write_text(graphml(graph), encoding="utf-8")
    return path


def debug_script(graph: Graph, ids: Iterable[str]) -> str:
    """Python that makes a graph of the same shape out of these jobs and all that they need.

    Its jobs write their names: for questions about which job runs when, without the real work.
    """
    kept = graph.ancestors_of(ids)
    lines = [
        '"""A graph of the shape of another one: which job runs when?"""', "",
        "import pypelinin.incremental as ppg", "",
        'ppg.new(dir_config=".ppg/subgraph_debug", allow_short_filenames=True,',
        "        prevent_absolute_paths=False)", "jobs = {}", "",
        *_WRITERS.splitlines(), "",
    ]  # fmt: skip
    for job_id, job in graph.jobs.items():
        if job_id in kept:
            lines.append(f"jobs[{job_id!r}] = {_stand_in(job)}")
    lines.append("")
    for up, job_id in edges_of(graph, kept):
        if graph.jobs[job_id].kind is not JobKind.Final:
            lines.append(f"jobs[{job_id!r}].depends_on(jobs[{up!r}])")
    return "\n".join([*lines, "", 'if __name__ == "__main__":', "    ppg.run()", ""])


def dump_for_debug(graph: Graph, ids: Iterable[str]) -> Path:
    """Write that; returns the file."""
    path = Path(DEBUG_FILE)
    path.write_text(debug_script(graph, ids), encoding="utf-8")
    return path


class DumpAtRun(Watcher):
    """Writes it when a run begins."""

    def began(self, running: Running) -> None:
        graph = running.graph
        if graph.dump_at_run:
            dump_for_debug(graph, [one for one in graph.dump_at_run if one in graph.jobs])
            graph.dump_at_run = []


_WRITERS = """
def write(path):
    path.write_text(path.name)


def write_all(paths):
    for path in paths:
        write(path)


def place(name):
    return f"subgraph_debug/{name.strip('/').replace('../', 'up/')}"
"""


def _stand_in(job: Job) -> str:
    """An expression for a job of the same kind."""
    alone = len(job.outputs) == 1
    names = f"place({job.outputs[0]!r})" if alone else f"[place(n) for n in {list(job.outputs)!r}]"
    many, writes = ("", "write") if alone else ("Multi", "write_all")
    no_code = ", depend_on_function=False"
    ways = {
        JobKind.Invariant: f"ppg.ParameterInvariant({job.job_id!r}, 0)",
        JobKind.Output: f"ppg.{many}FileGeneratingJob({names}, {writes}{no_code})",
        JobKind.Temp: f"ppg.{many}TempFileGeneratingJob({names}, {writes}{no_code})",
        JobKind.Loading: f"ppg.DataLoadingJob({job.job_id!r}, lambda: {job.job_id!r}{no_code})",
        JobKind.JobGenerating: f"ppg.JobGeneratingJob({job.job_id!r}, lambda: None{no_code})",
        JobKind.Final: f"ppg.FinalJob({job.job_id!r}, lambda: None)",
    }
    return ways[job.kind]


# --- run times ------------------------------------------------------------------------------------


def runtimes(graph: Graph, at_least_s: float = 0.0) -> list[tuple[str, float, float, str]]:
    """(job, seconds, when it began, how it ended) of the last run, the longest first."""
    rows = [
        (job_id, outcome.run_time, outcome.start_time or 0.0, outcome.outcome.name)
        for job_id, outcome in graph.last_run_result.items()
        if outcome.run_time is not None and outcome.run_time >= at_least_s
    ]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def runtimes_table(graph: Graph, at_least_s: float = 0.0) -> str:
    """The same as text, with tabs between the columns."""
    lines = ["job\tseconds\tbegan\toutcome"]
    for job_id, seconds, began, outcome in runtimes(graph, at_least_s):
        lines.append(f"{job_id}\t{seconds:.3f}\t{began:.3f}\t{outcome}")
    return "\n".join([*lines, ""])


__all__ = [
    "DumpAtRun", "debug_script", "dot", "drawn", "dump", "dump_for_debug", "edges_of", "graphml",
    "networkx_graph", "runtimes", "runtimes_table", "svg",
]  # fmt: skip
