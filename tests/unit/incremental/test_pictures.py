"""A graph as DOT, SVG, GraphML, networkx graph and script; tables of run times."""

from __future__ import annotations

import builtins
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import pypelinin.incremental as ppg
from pypelinin.errors import DefinitionError
from pypelinin.incremental import pictures, start
from pypelinin.incremental.graph import Options, PyPipeGraph

ODD = 'odd "name" <&> \\ .txt'


def write(path: Path) -> None:
    path.write_text("x")


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PyPipeGraph]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "_last", Options())
    made = ppg.new(cores=1, run_mode=ppg.RunMode.NONINTERACTIVE, dir_config=".ppg")
    temp = ppg.TempFileGeneratingJob("temp", write)
    odd = ppg.FileGeneratingJob(ODD, write)
    odd.depends_on(temp)
    many = ppg.MultiFileGeneratingJob(["a" * 50, "b" * 50], lambda paths: list(map(write, paths)))
    many.depends_on(ppg.DataLoadingJob("load", lambda: "x"), odd)
    ppg.JobGeneratingJob("generate", lambda: None)
    ppg.FinalJob("last", lambda: None)
    yield made
    ppg.change_global_pipegraph(None)


def expected_edges() -> set[tuple[str, str]]:
    many = f"{'a' * 50}:::{'b' * 50}"
    return {("temp", ODD), ("load", many), (ODD, many), ("FIwrite", "temp"), ("FIwrite", ODD),
            (f"FI{many}", many), ("FIload", "load"), ("FIgenerate", "generate")}  # fmt: skip


def test_edges_are_those_of_the_graph_and_of_a_part_of_it(graph: PyPipeGraph) -> None:
    assert set(pictures.edges_of(graph)) == expected_edges()
    assert list(pictures.edges_of(graph, ["temp", ODD])) == [("temp", ODD)]


def test_dot_names_all_jobs_and_edges(graph: PyPipeGraph) -> None:
    text = pictures.dot(graph)
    assert text.count(" -> ") == len(expected_edges())
    assert '"odd \\"name\\" <&> \\\\ .txt" [label=' in text
    assert "shape=octagon" in text
    assert 'style="filled,dashed"' in text


@pytest.mark.needs_all
def test_graphml_is_read_by_networkx_as_the_same_graph(graph: PyPipeGraph) -> None:
    import networkx

    ppg.run()
    read = networkx.parse_graphml(pictures.graphml(graph))
    assert set(read.edges) == expected_edges()
    assert set(read.nodes) == set(graph.jobs)
    assert read.nodes["temp"] == {"class": "TempFileGeneratingJob", "kind": "temp",
                                  "outcome": "Success"}  # fmt: skip


def test_graphml_is_xml_whatever_jobs_are_called(graph: PyPipeGraph) -> None:
    root = ElementTree.fromstring(pictures.graphml(graph))
    space = "{http://graphml.graphdrawing.org/xmlns}"
    ids = {node.attrib["id"] for node in root.iter(f"{space}node")}
    assert ids == set(graph.jobs)


def test_the_drawn_picture_has_a_box_for_each_job_and_none_on_another(graph: PyPipeGraph) -> None:
    root = ElementTree.fromstring(pictures.drawn(graph))
    space = "{http://www.w3.org/2000/svg}"
    boxes = [
        tuple(float(box.attrib[key]) for key in ("x", "y", "width", "height"))
        for box in root.iter(f"{space}rect")
    ]
    assert len(boxes) == len(graph.jobs)
    for number, (x, y, width, height) in enumerate(boxes):
        assert x + width <= float(root.attrib["width"])
        assert y + height <= float(root.attrib["height"])
        for ox, oy, other_width, other_height in boxes[:number]:
            apart = x >= ox + other_width or ox >= x + width
            assert apart or y >= oy + other_height or oy >= y + height
    assert len(list(root.iter(f"{space}path"))) == len(expected_edges())
    titles = {title.text for title in root.iter(f"{space}title")}
    assert f"FileGeneratingJob: {ODD}" in titles


def test_colours_say_how_jobs_ended(graph: PyPipeGraph) -> None:
    assert pictures.COLOURS[ppg.JobOutcome.Success] not in pictures.drawn(graph)
    ppg.run()
    assert pictures.COLOURS[ppg.JobOutcome.Success] in pictures.drawn(graph)


def test_an_empty_graph_is_a_picture(graph: PyPipeGraph) -> None:
    empty = PyPipeGraph(Options())
    ElementTree.fromstring(pictures.drawn(empty))
    assert pictures.dot(empty).startswith("digraph {")


def test_long_names_are_cut_in_the_middle() -> None:
    assert pictures.label_of("short") == "short"
    cut = pictures.label_of("a" * 50 + "b" * 50)
    assert len(cut) <= pictures.LABEL_MAX
    assert re.fullmatch("a+[.]{3}b+", cut)


FAKE_DOT = "#!/bin/sh\ncat > seen.dot\nprintf '%s' \"$1\"\n"


def test_dot_draws_where_it_is_installed(
    graph: PyPipeGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "dot"
    program.parent.mkdir()
    program.write_text(FAKE_DOT)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    assert pictures.svg(graph) == "-Tsvg"
    assert (tmp_path / "seen.dot").read_text() == pictures.dot(graph)
    program.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    with pytest.raises(DefinitionError, match="dot failed: broken"):
        pictures.svg(graph)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert pictures.svg(graph) == pictures.drawn(graph)
    with pytest.raises(DefinitionError, match=r"no program 'dot'.*graphviz"):
        pictures.svg(graph, with_dot=True)


@pytest.mark.needs_all
def test_job_dag_is_a_networkx_graph(graph: PyPipeGraph) -> None:

    assert set(graph.job_dag.edges) == expected_edges()


def test_without_networkx_job_dag_names_the_extra(
    graph: PyPipeGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(DefinitionError, match=r"pypelinin\[incremental\]"):
        graph.job_dag


def test_pictures_need_no_networkx(graph: PyPipeGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refusing(name: str, *rest: Any) -> Any:
        if name.startswith("networkx"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refusing)
    assert pictures.graphml(graph)
    assert pictures.drawn(graph)


def test_a_run_dumps_its_graph_when_asked(graph: PyPipeGraph) -> None:
    ppg.run(dump_graphml=True)
    (path,) = Path(".ppg/logs").glob("*.pre_prune.graphml")
    ElementTree.parse(path)


def test_a_run_without_logs_dumps_beside_its_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = ppg.DirConfig(".ppg", log_dir=None)
    made = PyPipeGraph(Options(dir_config=config))
    assert pictures.dump(made).parent == Path(".ppg")


def test_the_debug_script_makes_a_graph_of_the_same_shape(graph: PyPipeGraph) -> None:
    path = graph.dump_subgraph_for_debug()
    assert path == Path("subgraph_debug.py")
    before = set(graph.jobs)
    runpy.run_path(str(path))
    made = ppg.global_pipegraph
    assert made is not graph
    assert len(made.jobs) == len(before)
    assert len(list(pictures.edges_of(made))) == len(expected_edges())
    assert all(one.outcome.is_good for one in ppg.run().values())


def test_the_debug_script_of_some_jobs_has_what_they_need_only(graph: PyPipeGraph) -> None:
    text = graph.dump_subgraph_for_debug([graph.jobs[ODD]]).read_text()
    assert "'temp'" in text
    assert "'load'" not in text
    assert text == pictures.debug_script(graph, [ODD])


def test_the_debug_script_runs_by_itself(graph: PyPipeGraph) -> None:
    graph.dump_subgraph_for_debug(["temp", ODD])
    subprocess.run([sys.executable, "subgraph_debug.py"], check=True, capture_output=True)
    assert list(Path("subgraph_debug").iterdir())


def test_a_debug_script_at_run_knows_what_comes_late(graph: PyPipeGraph) -> None:
    graph.jobs[ODD].depends_on(lambda: ppg.ParameterInvariant("late", 1))
    graph.dump_subgraph_for_debug_at_run([ODD, "gone"])
    assert not Path("subgraph_debug.py").exists()
    ppg.run()
    assert "'PIlate'" in Path("subgraph_debug.py").read_text()
    Path("subgraph_debug.py").unlink()
    ppg.run()
    assert not Path("subgraph_debug.py").exists()


def test_run_times_come_with_the_longest_first(graph: PyPipeGraph) -> None:
    assert pictures.runtimes(graph) == []
    ppg.run()
    rows = pictures.runtimes(graph)
    assert {row[0] for row in rows} >= {ODD, "temp"}
    assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True)
    assert pictures.runtimes(graph, at_least_s=1000.0) == []
    lines = pictures.runtimes_table(graph).splitlines()
    assert lines[0] == "job\tseconds\tbegan\toutcome"
    assert len(lines) == len(rows) + 1
    assert {len(line.split("\t")) for line in lines} == {4}
