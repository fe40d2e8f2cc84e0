"""Runs of pipelines, in real slots."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pypelinin.errors import DefinitionError, Killed, NotPicklable, Timeout
from pypelinin.tasks import (
    DataPathBusy,
    Pipeline,
    PipelineError,
    PipelineResult,
    ResultDamaged,
    ResultMissing,
    RunFailed,
    Runner,
    Secret,
    Sequential,
    Task,
    TaskError,
    TaskResult,
    run,
    task,
)
from pypelinin.tasks.texts import mapping_of

pytestmark = pytest.mark.timeout(100)
Ran = Callable[[], list[str]]
Status = Task.Status


@task("simple-task")
def simpletask(data: Any, param: Any, place: str, name: str) -> str:
    with open(place, "a") as file:
        file.write(f"{name}\n")
    return f"{name}{param}<{''.join(data)}>"


def noted(tmp_path: Path, tag: str, param: Any = 0, **options: Any) -> Task[Any, Any]:
    """A task that notes its tag when it runs."""
    return simpletask(tag, param=param, place=str(tmp_path / "notes"), name=tag, **options)


def four(tmp_path: Path, second: Any = 2, reload: str = "") -> Sequential:
    params = {"1": 1, "2": second, "3": 3, "4": 4}
    return Sequential(
        "sequential",
        [noted(tmp_path, tag, param, reload=tag == reload) for tag, param in params.items()],
    )


# --- what runs, and what does not ---------------------------------------------------------------


def test_the_caching_scenarios_of_the_manual(tmp_path: Path, runner: Runner, ran: Ran) -> None:
    pipeline = four(tmp_path)
    runner.run(pipeline)
    assert ran() == ["1", "2", "3", "4"]
    runner.run(pipeline)
    assert ran() == [], "the same objects again"
    runner.run(four(tmp_path))
    assert ran() == [], "new objects"
    runner.run(four(tmp_path, second="CHANGED"))
    assert ran() == ["2", "3", "4"], "a parameter changed"
    assert runner.results()["simple-task(4)"] == "44<33<2CHANGED<11<>>>>"
    runner.run(four(tmp_path))
    assert ran() == [], "changed back"
    assert runner.results()["simple-task(4)"] == "44<33<22<11<>>>>"
    runner.run(four(tmp_path, reload="3"))
    assert ran() == ["3", "4"], "reload in the middle"
    runner.run(pipeline, force_reload=True)
    assert ran() == ["1", "2", "3", "4"], "force_reload"
    os.unlink(pipeline.tasks[3].output_filename())
    runner.run(pipeline)
    assert ran() == ["4"], "the last result deleted"
    os.unlink(pipeline.tasks[1].output_filename())
    runner.run(pipeline)
    assert ran() == [], "an inner result deleted: nobody needs it"
    runner.run(four(tmp_path, reload="3"))
    assert ran() == ["2", "3", "4"], "now somebody does"


def test_a_task_made_anew_in_a_sequence_of_the_same_others(
    tmp_path: Path, runner: Runner, ran: Ran
) -> None:
    pipeline = four(tmp_path)
    runner.run(pipeline)
    assert ran() == ["1", "2", "3", "4"]
    first, second, _, fourth = pipeline.tasks
    third = noted(tmp_path, "3", 3, reload=True)
    runner.run(Sequential("sequential", [first, second, third, fourth]))
    assert ran() == ["3", "4"]


def test_only_what_is_needed_is_loaded(tmp_path: Path, runner: Runner, ran: Ran) -> None:
    a, b, c, d = (noted(tmp_path, tag) for tag in "abcd")
    d([b(a), c])
    pipeline = Pipeline("p", [a, c])
    runner.run(pipeline)
    assert ran() == ["a", "b", "c", "d"]
    d.set_reload(True)
    runner.run(pipeline)
    assert ran() == ["d"]
    assert [one.tag for one in runner.tasks_queue] == ["a", "c", "b", "d"]
    assert [one.tag for one in runner.tasks_execute] == ["c", "b", "d"]
    assert [one.tag for one in runner.tasks_run] == ["d"]
    assert [one.status for one in (a, b, c, d)] == [
        Status.SKIPPED, Status.SUCCESS, Status.SUCCESS, Status.SUCCESS,
    ]  # fmt: skip
    assert a.output == "a0<>", "it is loaded when one asks"


def test_changed_code_runs_again(tmp_path: Path, runner: Runner) -> None:
    def versions() -> tuple[type[Task[Any, int]], type[Task[Any, int]]]:
        @task("Number", receives_input=False)
        def first() -> int:
            return 1

        @task("Number", receives_input=False)
        def second() -> int:
            return 2

        return first, second

    found = []
    for kind in (*versions(), versions()[0]):
        runner.run(Pipeline("p", [kind()]))
        found.append((runner.results()["Number()"], len(runner.tasks_run)))
    assert found == [(1, 1), (2, 1), (1, 0)]
    original = Runner(tmp_path / "other", tmp_path / "log", 1, hash_scheme="md5")
    for kind in versions():
        original.run(Pipeline("p", [kind()]))
    assert original.results()["Number()"] == 1, "the original does not look at the code"


def test_results_of_the_original_are_found(tmp_path: Path) -> None:
    @task("Hello", receives_input=False)
    def hello() -> str:
        return "of now"

    runner = Runner(tmp_path / "data", tmp_path / "log", 1, hash_scheme="md5")
    made = hello()
    made.hash_scheme = "md5"
    made.set_data_path(runner.data_path)
    assert made.output_filename().endswith(
        "Hello()/22179f3afd85ab64dd32c63bc21a9eb4/result.dump.gz"
    )
    made.store_output("of then")
    runner.run(Pipeline("p", [hello()]))
    assert runner.results()["Hello()"] == "of then"


# --- data ---------------------------------------------------------------------------------------


class Sum(Task[int, int]):
    start = 100

    def more(self) -> int:
        return self.start

    @run
    def run(self, data: list[int], n: int = 0) -> int:
        return sum(data) + n + self.more()


@task("Bytes", receives_input=False)
def many_bytes(size: int) -> bytes:
    return b"x" * size


@task("Sizes")
def sizes(data: Any) -> dict[str, int]:
    return {name: len(one) for name, one in data.items()}


def test_classes_with_attributes_and_methods(runner: Runner) -> None:
    last = Sum("last", n=1)([Sum("a", n=1), Sum("b", n=2)])
    pipeline = Pipeline("p", last.parents)
    runner.run(pipeline)
    assert last.output == 101 + 102 + 100 + 1
    assert pipeline["Sum(a)"] == 101
    assert runner.get_predecessor_outputs(last) == [101, 102]


def test_results_of_any_size_go_by_the_disk(runner: Runner) -> None:
    large, small = many_bytes("large", size=20_000_000), many_bytes("small", size=10)
    last = sizes()([large, small])
    runner.run(Pipeline("p", [large, small]))
    assert last.output == {"Bytes(large)": 20_000_000, "Bytes(small)": 10}


def test_a_task_without_input_waits_for_its_parents(tmp_path: Path, runner: Runner) -> None:
    path = tmp_path / "file"

    @task("Write", receives_input=False)
    def write(path: str) -> None:
        Path(path).write_text("written")

    @task("Read", receives_input=False)
    def read(path: str) -> str:
        return Path(path).read_text()

    first = write(path=str(path))
    last = read(path=str(path))(first)
    runner.run(Pipeline("p", [first]))
    assert last.output == "written"


def test_secrets_reach_the_task_and_nothing_else(tmp_path: Path, runner: Runner) -> None:
    @task("Login", receives_input=False)
    def login(password: str) -> int:
        return len(password)

    made = login(password=Secret("a secret of mine"))
    runner.run(Pipeline("p", [made]))
    assert made.output == 16
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"secret of mine" not in path.read_bytes(), path


@pytest.mark.parametrize("limit", [1, 5, 40])
def test_any_process_limit(tmp_path: Path, limit: int) -> None:
    @task("Pid", receives_input=False)
    def pid() -> int:
        return os.getpid()

    tasks = [pid(str(i)) for i in range(8)]
    Runner(tmp_path / "data", tmp_path / "log", limit).run(Pipeline("p", tasks))
    assert 1 <= len({one.output for one in tasks}) <= limit
    assert os.getpid() not in {one.output for one in tasks}


# --- failures -----------------------------------------------------------------------------------


@task("Fails")
def fails(data: Any, how: str = "raise") -> Any:
    if how == "raise":
        raise KeyError("no such thing")
    if how == "exit":
        os._exit(3)
    if how == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "sleep":
        time.sleep(60)
    return (one for one in data)


@task("After")
def after(data: Any) -> int:
    return len(data)


def failing(how: str = "raise", **options: Any) -> tuple[Pipeline, list[Task[Any, Any]]]:
    """fails -> after(blocked) -> after(too), and after(beside) -> after(below)."""
    wrong = fails(how=how).options(**options)
    blocked, too, beside, below = (after(tag) for tag in ("blocked", "too", "beside", "below"))
    too(blocked(wrong))
    below(beside)
    return Pipeline("failing", [wrong, beside]), [wrong, blocked, too, beside, below]


def test_a_failure_blocks_what_needs_it_and_nothing_else(runner: Runner) -> None:
    pipeline, tasks = failing()
    runner.run(pipeline)
    assert [one.status for one in tasks] == [
        Status.FAILURE, Status.CANT_RUN, Status.CANT_RUN, Status.SUCCESS, Status.SUCCESS,
    ]  # fmt: skip
    wrong = tasks[0].result
    assert wrong is not None
    assert isinstance(wrong.exception, KeyError)
    assert 'raise KeyError("no such thing")' in wrong.traceback
    assert "pypelinin/tasks" not in wrong.traceback  # only the user's lines
    assert tasks[4].output == 1
    assert {one.name for one in runner.tasks_error} == {one.name for one in tasks[:3]}
    log = (Path(runner.run_path) / "pipeline.log").read_text()
    where = Path(runner.run_path) / "exception.log"
    assert f"Pipeline run finished with errors: Fails(). See {where}" in log
    assert "ERROR" in log
    trace = (Path(runner.run_path) / "exception.log").read_text()
    assert trace.startswith("Fails()\n")
    assert "KeyError: 'no such thing'" in trace
    with pytest.raises(FileNotFoundError):
        runner.results()["Fails()"]
    assert runner.results()["After(below)"] == 1


def test_a_failure_can_be_raised(runner: Runner) -> None:
    pipeline, _ = failing()
    with pytest.raises(
        RunFailed, match=r"1 task of .*'failing' failed \(Fails\(\)\), 2 could"
    ) as e:
        runner.run(pipeline, raise_on_failure=True)
    assert isinstance(e.value.__cause__, KeyError)
    runner.run(Pipeline("p", [after("fine")]), raise_on_failure=True)


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("exit", Killed, "exited with code 3"),
        ("signal", Killed, "SIGKILL"),
        ("sleep", Timeout, "0.5 s"),
        ("generator", NotPicklable, r"result of Fails\(\) cannot be stored"),
    ],
)
def test_how_a_task_ended_is_told_truly(
    runner: Runner, how: str, kind: type[Exception], said: str
) -> None:
    pipeline, tasks = failing(how, **({"timeout": 0.5} if how == "sleep" else {}))
    runner.run(pipeline)
    assert [one.status.name for one in tasks[:2]] == ["FAILURE", "CANT_RUN"]
    result = tasks[0].result
    assert result is not None
    assert isinstance(result.exception, kind)
    assert re.search(said, str(result.exception)), str(result.exception)
    assert not tasks[0].output_exists()
    assert tasks[4].status is Status.SUCCESS


def test_retries(tmp_path: Path, runner: Runner) -> None:
    @task("Flaky", receives_input=False, retries=2)
    def flaky(path: str) -> int:
        tries = Path(path).read_text() if Path(path).exists() else ""
        Path(path).write_text(f"{tries}x")
        if len(tries) < 2:
            raise OSError("not yet")
        return len(tries)

    made = flaky(path=str(tmp_path / "tries"))
    runner.run(Pipeline("p", [made]), raise_on_failure=True)
    assert made.output == 2


def test_after_a_failure_only_the_rest_runs(tmp_path: Path, runner: Runner, ran: Ran) -> None:
    switch = tmp_path / "switch"

    @task("Needs")
    def needs(data: Any, switch: str) -> str:
        return Path(switch).read_text()

    first, last = noted(tmp_path, "first"), noted(tmp_path, "last")
    pipeline = Sequential("p", [first, needs(switch=str(switch)), last])
    runner.run(pipeline)
    assert ran() == ["first"]
    switch.write_text("on")
    runner.run(pipeline, raise_on_failure=True)
    assert ran() == ["last"]
    assert last.output == "last0<on>"


@pytest.mark.parametrize("again", [{"force_reload": True}, {}])
def test_a_reload_that_fails_leaves_nothing_made_from_old_results(
    tmp_path: Path, runner: Runner, again: dict[str, bool]
) -> None:
    source, switch = tmp_path / "source", tmp_path / "switch"

    @task("Source", receives_input=False)
    def read(path: str) -> str:
        return Path(path).read_text()

    @task("Upper")
    def upper(data: Any, switch: str) -> str:
        if Path(switch).exists():
            raise RuntimeError("not now")
        return str(data[0]).upper()

    first = read(path=str(source))
    last = upper(switch=str(switch))(first)
    pipeline = Pipeline("p", [first])
    source.write_text("old")
    runner.run(pipeline, raise_on_failure=True)
    assert last.output == "OLD"
    source.write_text("new")
    switch.write_text("on")
    first.set_reload(not again)
    runner.run(pipeline, **again)
    with pytest.raises(ResultMissing):
        runner.results()["Upper()"]
    switch.unlink()
    first.set_reload(False)
    runner.run(pipeline, raise_on_failure=True)
    assert (first.output, last.output) == ("new", "NEW")
    assert runner.tasks_run == [last]


def test_an_empty_result_is_none(tmp_path: Path, runner: Runner, ran: Ran) -> None:
    """A machine that lost its power leaves such files."""
    only = noted(tmp_path, "only")
    pipeline = Pipeline("p", [only])
    runner.run(pipeline)
    Path(only.output_filename()).write_bytes(b"")
    assert only.should_run()
    assert ran() == ["only"]
    runner.run(pipeline, raise_on_failure=True)
    assert ran() == ["only"]
    assert only.output == "only0<>"


def test_an_old_result_that_cannot_be_removed(runner: Runner) -> None:
    first = after("first")
    runner.run(Pipeline("p", [first]))
    folder = Path(first.output_filename()).parent
    shutil.rmtree(folder)
    folder.write_text("a file of somebody")
    with pytest.raises(PipelineError, match=r"old result of \w+\(first\) cannot be removed"):
        runner.run(Pipeline("p", [first]))


def test_a_damaged_result_fails_who_reads_it_with_a_remedy(runner: Runner) -> None:
    first = after("first")
    last = Sum("last")(first)
    pipeline = Pipeline("p", [first])
    runner.run(pipeline)
    Path(first.output_filename()).write_bytes(b"damaged")
    last.set_reload(True)
    runner.run(pipeline)
    assert last.result is not None
    assert isinstance(last.result.exception, ResultDamaged)
    first.set_reload(True)
    runner.run(pipeline, raise_on_failure=True)
    assert last.output == 100


# --- what cannot be run -------------------------------------------------------------------------


def test_without_a_pipeline_or_with_something_else(runner: Runner) -> None:
    with pytest.raises(PipelineError, match="no pipeline to run"):
        runner.run()
    with pytest.raises(TypeError, match="Not a Pipeline: 3"):
        runner.run(3)  # type: ignore[arg-type]  # that is what is tried
    with pytest.raises(PipelineError, match="No tasks in pipeline"):
        runner.run(Pipeline("empty"))
    with pytest.raises(AttributeError, match="Nothing has been run"):
        runner.results()


def test_what_can_be_asked_without_a_run(runner: Runner) -> None:
    one = after("x")
    pipeline = Pipeline("p", [one])
    Runner.validate_pipeline(pipeline)
    with pytest.raises(TypeError, match="Not a Pipeline"):
        Runner.validate_pipeline(one)  # type: ignore[arg-type]  # that is what is tried
    runner.set_pipeline(pipeline)
    runner.save_pipeline_params()
    path = runner.pipeline_params_filename()
    assert path == os.path.join(runner.log_path, "pipeline.yaml")
    assert mapping_of(Path(path).read_text(), path)["tasks"]["After(x)"]["hash"] == one.hash()
    runner.skip_task(one)
    runner.log_exception(Task.TaskResult(Status.FAILURE, None, KeyError("x")))
    assert one.status is Status.SKIPPED
    assert runner.run_path == ""


def test_set_pipeline_and_run(runner: Runner) -> None:
    pipeline = Pipeline("p", [after()])
    runner.set_pipeline(pipeline)
    runner.assert_valid_pipeline()
    runner.run()
    assert pipeline["After()"] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"process_limit": 0}, "at least 1, not 0"),
        ({"process_limit": True}, "at least 1"),
        ({"hash_scheme": "crc"}, "one of code, md5, sha256"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        Runner(tmp_path / "data", tmp_path / "log", **options)


def test_a_cluster_and_an_engine_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as engine:
        runner = Runner(tmp_path / "d", tmp_path / "l", on="tcp://127.0.0.1:1", engine=engine)
        with pytest.raises(DefinitionError, match="not on both"):
            runner.run(Pipeline("p", [after()]))


def test_paths_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PipelineError, match=r"data path .*file/data' cannot be made"):
        Runner(tmp_path / "file" / "data", tmp_path / "log")
    with pytest.raises(PipelineError, match="log path"):
        Runner(tmp_path / "data", tmp_path / "file")


def test_two_runners_on_one_data_path(tmp_path: Path, runner: Runner) -> None:
    from pypelinin.tasks.holding import Hold

    other = Hold(runner.data_path, lambda api, run: None)
    with other, pytest.raises(DataPathBusy, match=rf"in use by process {os.getpid()} on .* since"):
        runner.run(Pipeline("p", [after()]))
    runner.run(Pipeline("p", [after()]))


def test_code_that_cannot_be_sent_is_named(runner: Runner) -> None:
    import threading

    lock = threading.Lock()

    @task("Locks")
    def locks(data: Any) -> bool:
        return lock.locked()

    with pytest.raises(NotPicklable, match=r"locks\(\) cannot be sent.*'lock'"):
        runner.run(Pipeline("p", [locks()]))
    log = (Path(runner.run_path) / "pipeline.log").read_text()
    assert "finished with errors: interrupted by pypelinin.errors.NotPicklable: " in log


# --- what is kept of a run ----------------------------------------------------------------------


def test_the_directory_of_a_run(tmp_path: Path, runner: Runner) -> None:
    @task("Talks")
    def talks(data: Any) -> None:
        import sys

        print("for stdout")
        print("for stderr", file=sys.stderr)

    first = after("first")
    talks()(first)
    runner.run(Pipeline("my pipeline", [first]))
    path = Path(runner.run_path)
    assert re.fullmatch(r"my-pipeline_\d{6}T\d{6}", path.name)
    assert sorted(one.name for one in path.iterdir()) == [
        "pipeline.log", "pipeline.yaml", "status.svg",
    ]  # fmt: skip
    lines = (path / "pipeline.log").read_text().splitlines()
    shape = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (INFO|ERROR) +(\S+) +(\S+) +(.*)")
    told = [match.groups() for line in lines if (match := shape.fullmatch(line))]
    assert len(told) == len(lines)
    talked = [(level, text) for level, _, name, text in told if name == "Talks()"]
    assert talked == [
        ("INFO", "Starting"), ("INFO", "for stdout"), ("ERROR", "for stderr"),
        ("INFO", "Finished: Status.SUCCESS"),
    ]  # fmt: skip
    assert told[-1][1:] == ("MainProcess", "pypelinin.tasks", "Pipeline run finished")
    assert (path / "status.svg").read_text().count('fill="#90ee90"') == 2, "two are green"
    assert sorted(os.listdir(runner.data_path)) == [".lock", ".runs", "After(first)", "Talks()"]
    assert os.listdir(Path(runner.data_path, ".runs")) == []


def test_pipeline_yaml_says_what_was_run_and_with_what(tmp_path: Path, runner: Runner) -> None:
    first = after("first")
    last = Sum("last", n=2)(first)
    pipeline = Pipeline("p", [first])
    runner.run(pipeline)
    path = runner.pipeline_params_filename()
    told = mapping_of(Path(path).read_text(), path)
    assert told["tasks"]["Sum(last)"] == {
        "hash": last.hash(), "module": __name__, "name": "Sum", "params": {"n": 2},
        "parents": ["After(first)"], "tag": "last",
    }  # fmt: skip
    assert told["run"]["data_path"] == runner.data_path
    assert set(told["run"]) == {"data_path", "log_path", "host", "env", "pypelinin"}
    back = Pipeline.from_file(path)
    runner.run(back)
    assert runner.tasks_run == []
    assert back["Sum(last)"] == 102
    results = PipelineResult.from_file(path)
    assert dict(results) == {"After(first)": 0, "Sum(last)": 102}
    params = os.path.join(os.path.dirname(last.output_filename()), "params.yaml")
    assert TaskResult.from_file(params).output() == 102


def test_two_runs_in_one_second_have_a_directory_each(runner: Runner) -> None:
    pipeline = Pipeline("p", [after()])
    paths = set()
    for _ in range(3):
        runner.run(pipeline)
        paths.add(runner.run_path)
    assert len(paths) == 3


def test_lines_go_to_the_logger_of_the_package(
    runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pypelinin.tasks")
    before = list(logging.getLogger().handlers)
    runner.run(Pipeline("p", [after()]))
    runner.run(Pipeline("p", [after()]))
    told = [(record.name, record.message) for record in caplog.records]
    assert ("After()", "Starting") in told
    assert ("pypelinin.tasks", 'No need to execute task "After()", skipping it') in told
    assert logging.getLogger().handlers == before, "the root logger is not touched"
    assert logging.getLogger("pypelinin.tasks").handlers == []


def test_the_execution_plan_marks_what_runs(
    runner: Runner, capsys: pytest.CaptureFixture[str]
) -> None:
    first = after("first")
    pipeline = Pipeline("p", [first])
    runner.run(pipeline)
    after("last")(first)
    runner.run(pipeline, show_execution_plan=True)
    printed = capsys.readouterr().out
    assert "| After(last)* |" in printed
    assert "| After(first) |" in printed
    runner.analyze_pipeline(force_reload=True)
    lines: list[str] = []
    runner.execution_plan_summary(lines.append)
    assert "| After(first)* |" in lines[0]


def test_a_picture_where_one_wants_it(tmp_path: Path, runner: Runner) -> None:
    runner.run(Pipeline("p", [after()]))
    runner.write_status_image(str(tmp_path / "here.svg"))
    assert (tmp_path / "here.svg").read_text() == (Path(runner.run_path) / "status.svg").read_text()


def test_a_picture_that_cannot_be_written_ends_no_run(
    tmp_path: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    # none is drawn before the task, however late that begins
    monkeypatch.setattr("pypelinin.tasks.runner.PICTURE_S", 3600.0)

    @task("Blocks")
    def blocks(data: Any, log: str) -> int:
        (one,) = Path(log).iterdir()
        (one / "status.svg").mkdir()
        return 3

    one = blocks(log=str(tmp_path / "log"))
    runner.run(Pipeline("p", [one]), raise_on_failure=True)
    assert one.output == 3
    assert "status.svg cannot be written" in Path(runner.run_path, "pipeline.log").read_text()


def test_statuses_are_seen_while_tasks_run(tmp_path: Path, runner: Runner) -> None:
    seen = []

    class Watched(Sum):
        def set_status(self, status: Task.Status) -> None:
            seen.append(status.name)
            super().set_status(status)

    runner.run(Pipeline("p", [Watched()]))
    assert "RUNNING" in seen


def test_on_threads_of_an_engine(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as engine:
        runner = Runner(tmp_path / "data", tmp_path / "log", engine=engine)
        pipeline, tasks = failing()
        runner.run(pipeline)
    assert [one.status.name for one in tasks] == [
        "FAILURE", "CANT_RUN", "CANT_RUN", "SUCCESS", "SUCCESS",
    ]  # fmt: skip
    assert json.dumps(runner.results()["After(below)"]) == "1"


def test_task_errors_are_definition_errors() -> None:
    assert issubclass(TaskError, DefinitionError)


SLEEPS = """
import time
from pypelinin.tasks import Pipeline, Runner, task

@task("Sleep")
def sleep(data, seconds):
    time.sleep(seconds)
    return seconds

first = sleep("first", seconds=0)
last = sleep("last", seconds=100)(first)
try:
    Runner("data", "log", 1).run(Pipeline("p", [first]))
finally:
    print(first.status.name, first.output, last.status.name)
"""


def test_ctrl_c_ends_what_runs_and_keeps_what_is_done(tmp_path: Path) -> None:
    (tmp_path / "sleeps.py").write_text(SLEEPS)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, "sleeps.py"], cwd=tmp_path, env=environ, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as script:  # fmt: skip
        assert script.stderr is not None
        for line in script.stderr:
            if "Sleep(last)" in line and line.endswith("Starting\n"):
                break
        os.killpg(script.pid, signal.SIGINT)  # as a terminal does
        told, errors = script.communicate(timeout=30)
    assert script.returncode != 0
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert told.split() == ["SUCCESS", "0", "NOT_STARTED"]
    (log,) = tmp_path.glob("log/*/pipeline.log")
    assert "Pipeline run finished with errors: interrupted" in log.read_text()
    assert len(list(tmp_path.glob("data/*/*/result.dump.gz"))) == 1
    assert list(tmp_path.glob("data/.runs/*")) == []
