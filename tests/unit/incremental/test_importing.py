"""A history of pypipegraph2 is taken over: what is unchanged rests, what changed runs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.engine import entry as why
from pypelinin.incremental import importing, start
from pypelinin.incremental.exceptions import HistoryLoadingFailed
from pypelinin.incremental.graph import Options, PyPipeGraph
from pypelinin.incremental.history import History
from pypelinin.incremental.loaders import Loaders

THEIRS = Path(".ppg/history/ppg_history.2.zstd")


def write(text: str) -> Callable[[Path], Any]:
    return lambda path, text=text: path.write_text(text)


def digest(path: str) -> str:
    """Stands for their digest, which needs a package."""
    return hashlib.md5(Path(path).read_bytes()).hexdigest()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "_last", Options())
    monkeypatch.setattr(importing, "_unzipped", Path.read_bytes)
    monkeypatch.setattr(importing, "xxh3_128", digest)
    yield tmp_path
    ppg.change_global_pipegraph(None)


# --- what pypipegraph2 would have written -------------------------------------------------------


def of_file(path: str) -> dict[str, Any]:
    stat = os.stat(path)
    return {"hash": digest(path), "mtime": int(stat.st_mtime), "size": stat.st_size}


def of_function(source: str, closure: str = "") -> dict[str, Any]:
    return {"3.1": [[[""]], closure], "source": source, "source_line_no": 1}


def leave(jobs: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]]) -> None:
    """Their history: by job what it made, and by upstream what it read of that."""
    data = {}
    for job, (made, read) in jobs.items():
        names = [name for values in read.values() for name in values]
        data[job] = json.dumps(made)
        data[f"{job}!!!"] = "\n".join(names)
        for upstream, values in read.items():
            data[f"{upstream}!!!{job}"] = json.dumps(values)
            data.setdefault(upstream, json.dumps(values))
    THEIRS.parent.mkdir(parents=True, exist_ok=True)
    THEIRS.write_text(json.dumps(data))


def new() -> PyPipeGraph:
    return ppg.new(cores=1, run_mode=ppg.RunMode.NONINTERACTIVE, dir_config=".ppg")


SOURCE = "return lambda path, text=text: path.write_text(text)"
FUNCTION = {"FIout": of_function(SOURCE)}


def given() -> None:
    """A file `out`, made of `in.txt`, a parameter and a function."""
    Path("in.txt").write_text("in")
    Path("out").write_text("made by them")
    read = {"in.txt": {"in.txt": of_file("in.txt")}, "PIout": {"PIout": "ab" * 16},
            "FIout": FUNCTION}  # fmt: skip
    leave({"out": ({"out": of_file("out")}, read)})


def graph(value: Any = 1) -> Any:
    new()
    job = ppg.FileGeneratingJob("out", write("made by us"))
    job.depends_on_file("in.txt")
    job.depends_on_params(value)
    return job


def ran() -> bool:
    return Path("out").read_text() == "made by us"


# --- what rests and what runs -------------------------------------------------------------------


def test_what_has_not_changed_is_not_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    given()
    graph()
    ppg.run()
    assert not ran()
    assert capsys.readouterr().err.splitlines() == [
        f"Records of 1 jobs were taken over from {THEIRS}.",
        "These cannot be compared and count as unchanged: 1 values of parameters, 1 functions with "
        "default arguments.",
    ]
    graph()
    ppg.run()
    assert not ran()
    assert capsys.readouterr().err == ""


def test_from_then_on_changes_are_ours_to_notice() -> None:
    given()
    graph()
    ppg.run()
    graph(2)
    outcome = ppg.run()["out"]
    assert ran()
    with closing(History(Path(".ppg/history/history.sqlite3"), read_only=True)) as history:
        assert [history.text_of(change.old) for change in outcome.changes] == ["1"]


def touched() -> None:
    os.utime("in.txt", (1, 1))


def changed() -> None:
    Path("in.txt").write_text("IN")


def longer() -> None:
    Path("in.txt").write_text("longer")


def output_deleted() -> None:
    Path("out").unlink()


def output_altered() -> None:
    Path("out").write_text("altered")


def function_changed() -> None:
    THEIRS.write_text(THEIRS.read_text().replace("write_text(text)", "write_bytes(text)"))


def closure_changed() -> None:
    THEIRS.write_text(THEIRS.read_text().replace('[[\\"\\"]], \\"\\"', '[[\\"\\"]], \\"\\\\n1\\"'))


def input_removed() -> None:
    data = json.loads(THEIRS.read_text())
    data["out!!!"] += "\ngone"
    data["gone!!!out"] = json.dumps({"gone": "value"})
    THEIRS.write_text(json.dumps(data))


def input_added() -> None:
    data = json.loads(THEIRS.read_text())
    data["out!!!"] = data["out!!!"].replace("PIout\n", "")
    THEIRS.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("disturb", "reason"),
    [
        (touched, None), (changed, why.INPUT), (longer, why.INPUT), (output_deleted, why.ABSENT),
        (output_altered, why.ALTERED), (function_changed, why.INPUT),
        (closure_changed, why.INPUT), (input_removed, why.INPUTS), (input_added, why.INPUTS),
    ],
)  # fmt: skip
def test_what_has_changed_since_is_made_again(
    disturb: Callable[[], None], reason: int | None
) -> None:
    given()
    os.utime("in.txt", (5, 5))
    given_file = of_file("in.txt")
    data = json.loads(THEIRS.read_text())
    data["in.txt!!!out"] = json.dumps({"in.txt": given_file})
    THEIRS.write_text(json.dumps(data))
    before = THEIRS.read_text()
    disturb()
    if disturb in (function_changed, closure_changed, input_added, input_removed):
        assert THEIRS.read_text() != before
    graph()
    outcome = ppg.run()["out"]
    assert ran() == (reason is not None)
    if reason is not None:
        assert outcome.reason == reason
    graph()
    assert ppg.run()["out"].outcome is ppg.JobOutcome.Skipped


def test_a_change_in_the_second_of_their_record_is_seen() -> None:
    second_ns = 1_000_000_000 * 10**9
    given()
    changed()
    for path, late_ns in (("in.txt", 2), ("out", 0), (THEIRS, 1)):
        os.utime(path, ns=(second_ns, second_ns + late_ns))
    THEIRS.write_text(re.sub(r'(mtime\\": )\d+', rf"\g<1>{10**9}", THEIRS.read_text()))
    os.utime(THEIRS, ns=(second_ns, second_ns + 1))
    graph()
    assert ppg.run()["out"].reason == why.INPUT


def test_a_dry_run_takes_nothing_over() -> None:
    given()
    graph()
    assert ppg.run(dry_run=True)["out"].outcome is ppg.JobOutcome.Skipped
    assert not Path(".ppg/history/history.sqlite3").exists()


def test_a_history_of_our_own_is_not_mixed_with_theirs() -> None:
    Path("in.txt").write_text("in")
    graph()
    ppg.run()
    Path("out").unlink()
    given()
    graph()
    assert ppg.run()["out"].reason == why.ALTERED


def test_a_job_that_comes_later_is_taken_over_then() -> None:
    given()
    new()
    ppg.FileGeneratingJob("other", write("x"))
    ppg.run()
    graph()
    ppg.run()
    assert not ran()


def test_a_job_that_failed_is_not_taken_over_again() -> None:
    given()
    changed()

    def fails(path: Path) -> None:
        raise ValueError("no")

    new()
    job = ppg.FileGeneratingJob("out", fails)
    job.depends_on_file("in.txt")
    ppg.run(raise_on_job_error=False, print_failures=False)
    Path("in.txt").write_text("in")
    Path("out").write_text("made by them")
    graph()
    ppg.run()
    assert ran()


def test_a_function_under_another_name_is_found_by_its_code() -> None:
    given()
    data = json.loads(THEIRS.read_text().replace("FIout", "FIwrite.<locals>.<lambda>"))
    THEIRS.write_text(json.dumps(data))
    graph()
    ppg.run()
    assert not ran()


def temporary(text: str = "out") -> None:
    new()
    temp = ppg.TempFileGeneratingJob("temp", write("temp"))
    ppg.FileGeneratingJob("out", write(text)).depends_on(temp)


def given_temporary() -> None:
    Path("temp").write_text("temp")
    Path("out").write_text("out")
    temp, function = {"temp": of_file("temp")}, {"FItemp": of_function(SOURCE)}
    leave({
        "temp": (temp, {"FItemp": function}),
        "out": ({"out": of_file("out")}, {"temp": temp, "FIout": FUNCTION}),
    })  # fmt: skip
    Path("temp").unlink()


def test_a_temporary_file_that_is_gone_is_known_by_their_digest() -> None:
    given_temporary()
    temporary()
    outcomes = ppg.run()
    assert outcomes["temp"].outcome is outcomes["out"].outcome is ppg.JobOutcome.Skipped
    Path("out").unlink()
    temporary()
    outcomes = ppg.run()
    assert outcomes["temp"].outcome is outcomes["out"].outcome is ppg.JobOutcome.Success
    assert not Path("temp").exists()
    temporary()
    assert ppg.run()["temp"].outcome is ppg.JobOutcome.Skipped


def test_a_temporary_file_that_is_made_again_the_same_leaves_its_readers_alone() -> None:
    given_temporary()
    new()
    temp = ppg.TempFileGeneratingJob("temp", lambda path: path.write_text("temp"))
    ppg.FileGeneratingJob("out", write("new")).depends_on(temp)
    outcomes = ppg.run()
    assert outcomes["temp"].outcome is ppg.JobOutcome.Success
    assert outcomes["out"].outcome is ppg.JobOutcome.Skipped
    assert Path("out").read_text() == "out"


def test_a_temporary_file_that_became_another_is_told() -> None:
    given_temporary()
    data = json.loads(THEIRS.read_text())
    for key in ("temp", "temp!!!out"):
        data[key] = data[key].replace(hashlib.md5(b"temp").hexdigest(), "00" * 16)
    THEIRS.write_text(json.dumps(data))
    Path("out").unlink()
    temporary()
    outcomes = ppg.run(raise_on_job_error=False, print_failures=False)
    assert "changed output" in str(outcomes["temp"].error)


def test_loaders_are_trusted_while_nothing_that_they_read_changed() -> None:
    data: dict[str, Any] = {}

    def load() -> str:
        return "value"

    def graph(text: str) -> None:
        new()
        loader = ppg.DictEntryLoadingJob("load", data, "key", load)
        ppg.FileGeneratingJob("out", write(text)).depends_on(loader)

    Path("out").write_text("out")
    name, loaded = f"FI{load.__qualname__}", {"load": "5c7401c0"}
    source = '() -> str:\n        return "value"'
    leave({
        "load": (loaded, {name: {name: of_function(source)}}),
        "out": ({"out": of_file("out")}, {"load": loaded, "FIout": FUNCTION}),
    })  # fmt: skip
    graph("out")
    outcomes = ppg.run()
    assert outcomes["out"].outcome is outcomes["load"].outcome is ppg.JobOutcome.Skipped
    graph("new")
    assert ppg.run()["out"].outcome is ppg.JobOutcome.Success
    assert Path("out").read_text() == "new"
    graph("new")
    assert ppg.run()["out"].outcome is ppg.JobOutcome.Skipped


def test_far_from_here_a_loader_that_cannot_be_compared_must_give_nothing_certain() -> None:
    entries = [
        SimpleNamespace(inputs=[], recipe=True, outputs=("load",), prints=(tags,))
        for tags in ((("pypipegraph2", b"theirs"),), (("loaded", b"ours"),))
    ]
    reads = [(entry, 1, False) for entry in entries]
    for number, entry in enumerate(entries):
        entry.number = number
    reader = SimpleNamespace(inputs=reads, recipe=False, outputs=("out",), prints=None)
    run: Any = SimpleNamespace(jobs=[*entries, reader])
    found = {number: must for number, _, must in Loaders(run, [], lambda: None).reads_of(2)}
    assert found == {0: b"", 1: b"ours"}


def test_what_a_generator_made_counts_as_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    def graph(name: str) -> None:
        new()
        generator = ppg.JobGeneratingJob(
            "generate", lambda: ppg.DataLoadingJob(name, str), depend_on_function=False
        )
        ppg.FileGeneratingJob("out", write("new")).depends_on(generator)

    Path("out").write_text("out")
    generated = {"generate": 1}
    leave({
        "generate": (generated, {}),
        "out": ({"out": of_file("out")}, {"generate": generated, "FIout": FUNCTION}),
    })  # fmt: skip
    graph("a")
    assert ppg.run()["out"].outcome is ppg.JobOutcome.Skipped
    assert "1 jobs that generate jobs" in capsys.readouterr().err
    graph("a")
    assert ppg.run()["out"].outcome is ppg.JobOutcome.Skipped
    graph("b")
    assert ppg.run()["out"].outcome is ppg.JobOutcome.Success


def test_one_file_of_several_is_taken_over_for_who_reads_that_one() -> None:
    for name in ("a", "b", "out"):
        Path(name).write_text(name)
    both = {"a": of_file("a"), "b": of_file("b")}
    leave({
        "a:::b": (both, {}),
        "out": ({"out": of_file("out")}, {"a:::b": {"b": both["b"]}, "FIout": FUNCTION}),
    })  # fmt: skip
    new()
    ppg.MultiFileGeneratingJob(
        ["b", "a"], lambda paths: [path.write_text("new") for path in paths],
        depend_on_function=False,
    )  # fmt: skip
    ppg.FileGeneratingJob("out", write("new")).depends_on("b")
    outcomes = ppg.run()
    assert outcomes["a:::b"].outcome is outcomes["out"].outcome is ppg.JobOutcome.Skipped


# --- where it is, and what is wrong with it -----------------------------------------------------


@pytest.mark.parametrize(
    ("root", "theirs"),
    [
        (".ppg", ".ppg/history"),
        (".ppg/per_script/work", ".ppg/per_script/work.py/history"),
        (".ppg/per_script/run", ".ppg/history"),
        (".ppg/per_script/other", None),
    ],
)
def test_their_history_is_where_they_keep_it(root: str, theirs: str | None) -> None:
    for place in (".ppg/history", ".ppg/per_script/work.py/history"):
        Path(place).mkdir(parents=True)
        (Path(place) / importing.FILE_NAME).touch()
    made = ppg.new(run_mode=ppg.RunMode.NONINTERACTIVE, dir_config=root)
    expected = None if theirs is None else Path(theirs) / importing.FILE_NAME
    assert importing.file_of(made) == expected


@pytest.mark.parametrize("content", [b"", b"no json", b"[1]", b'{"a": "x", "a!!!": ""}', b"\xff"])
def test_a_history_that_cannot_be_read_stops_every_run(content: bytes) -> None:
    given()
    THEIRS.write_bytes(content)
    for _ in range(2):
        graph()
        with pytest.raises(
            HistoryLoadingFailed, match=r"of pypipegraph2 cannot be read.*not touch"
        ):
            ppg.run()
    assert not ran()
    assert THEIRS.read_bytes() == content
    THEIRS.unlink()
    graph()
    ppg.run()
    assert ran()


def test_without_the_extra_it_is_named_and_nothing_is_rebuilt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given()
    monkeypatch.undo()
    os.chdir(THEIRS.absolute().parents[2] if THEIRS.exists() else ".")
    for module in ("compression.zstd", "backports.zstd", "pyzstd", "zstandard", "xxhash"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(HistoryLoadingFailed, match=r"pypelinin\[incremental\]"):
        importing._unzipped(Path(__file__))
    with pytest.raises(HistoryLoadingFailed, match=r"pypelinin\[incremental\]"):
        importing.xxh3_128(__file__)


def test_what_cannot_be_compared_without_the_extra_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given()
    touched()

    def missing(path: str) -> str:
        raise HistoryLoadingFailed("no xxhash")

    monkeypatch.setattr(importing, "xxh3_128", missing)
    graph()
    with pytest.raises(HistoryLoadingFailed, match="no xxhash"):
        ppg.run()
    monkeypatch.setattr(importing, "xxh3_128", digest)
    graph()
    ppg.run()
    assert not ran()


# --- with the real one --------------------------------------------------------------------------

SCRIPT = Path(__file__).with_name("moving.py.txt")


def script(package: str) -> list[str]:
    """Run the project with one of the two packages; what ran, in order of its names."""
    Path("project.py").write_text(SCRIPT.read_text().replace("PACKAGE", package))
    Path("ran.txt").unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "project.py"], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        start_new_session=True,  # pypipegraph2 ends what is new in its process group
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(Path("ran.txt").read_text().split()) if Path("ran.txt").exists() else []


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that pypipegraph2 has run."""
    place = tmp_path_factory.mktemp("left")
    before = os.getcwd()
    os.chdir(place)
    try:
        Path("in.txt").write_text("input")
        everything = script("pypipegraph2")
    finally:
        os.chdir(before)
    assert everything == sorted(
        "a attribute b calculate closure d default e external generate keyword last load loop0 "
        "loop1 many multi take2 temp".split()
    )
    return place


@pytest.mark.needs_all
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (None, ""),
        (lambda: os.utime("in.txt", (1, 1)), ""),
        (lambda: Path("in.txt").write_text("INPUT"), "a"),
        (lambda: Path("in.txt").write_text("longer"), "a b"),
        (lambda: Path("out/e").unlink(), "attribute e load take2 temp"),
        (lambda: Path("out/m1").unlink(), "many"),
        (lambda: Path("out/d").write_text("x"), "d"),
    ],
)
def test_a_project_moves_over(left: Path, change: Callable[[], Any] | None, expected: str) -> None:
    shutil.copytree(left, ".", dirs_exist_ok=True)
    if change is not None:
        change()
    always = ["generate"]
    assert script("pypelinin.incremental") == sorted([*always, *expected.split()])
    assert script("pypelinin.incremental") == always
