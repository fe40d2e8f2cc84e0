"""`pypelinin history` and `explain FILE`: text, JSON and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.cli import main
from pypelinin.incremental import importing, start
from pypelinin.incremental.graph import Options
from pypelinin.incremental.history import History

HISTORY = Path(".ppg/history/history.sqlite3")


def write(path: Path) -> None:
    path.write_text("x")


def run(value: int, root: str = ".ppg") -> None:
    ppg.new(cores=1, run_mode=ppg.RunMode.NONINTERACTIVE, dir_config=root)
    ppg.FileGeneratingJob("out/file", write).depends_on_params(value)
    ppg.run()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "_last", Options())
    yield tmp_path
    ppg.change_global_pipegraph(None)


Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err

    return command


def document(said: Said, *arguments: str) -> Any:
    code, out, _ = said(*arguments, "--json")
    assert code == 0
    return json.loads(out)


def test_explain_tells_of_a_file_from_any_directory_of_the_project(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(1)
    run(2)
    code, out, err = said("explain", "out/file")
    assert (code, err) == (0, "")
    assert "out/file: it ran on " in out
    assert "    +2" in out
    monkeypatch.chdir("out")
    assert document(said, "explain", "file")["reason"] == "what it reads changed"
    assert not document(said, "explain", "file")["would_run"]
    Path("file").unlink()
    found = document(said, "explain", "file")
    assert found["would_run"]
    assert found["since"][0]["kind"] == "missing"


def test_what_nobody_makes_is_not_found(said: Said) -> None:
    code, _, err = said("explain", "gone")
    assert code == 7
    assert "There is no history below .ppg" in err
    run(1)
    code, _, err = said("explain", "gone")
    assert code == 7
    assert "No job makes 'gone'" in err
    code, _, err = said("history", "show", "gone")
    assert code == 7
    code, _, err = said("history", "show", "--root", "elsewhere")
    assert code == 7
    assert "There is no history in elsewhere." in err


def test_explain_with_two_arguments_asks_the_cluster(said: Said) -> None:
    run(1)
    code, _, _ = said("explain", "run", "job", "--api", "tcp://127.0.0.1:1", "--deadline", "0.1")
    assert code == 3


def test_show_lists_jobs_and_one_record(said: Said) -> None:
    run(1)
    code, out, _ = said("history", "show")
    assert code == 0
    assert "1 records, last run" in out
    assert "out/file  Success" in out
    found = document(said, "history", "show")
    assert [job["job"] for job in found["jobs"]] == ["out/file"]
    code, out, _ = said("history", "show", "out/file")
    assert out.startswith("out/file (FileGeneratingJob)\noutputs:\n  out/file  blake2b ")
    assert "      def write(path: Path) -> None:" in out
    assert document(said, "history", "show", "./out/file")["inputs"]["PIout/file"]["text"] == "1"


def test_show_has_a_limit_and_says_so(said: Said) -> None:
    run(1)
    with closing(History(HISTORY)) as history:
        body = history.reasons.get("out/file")
        for number in range(3):
            history.reasons.put(f"job{number}", body)
        history.commit()
    assert said("history", "show", "-n", "1")[1].endswith("... 3 more; --limit shows them\n")


def test_a_job_without_a_record_has_none_to_show(said: Said) -> None:
    run(1)
    with closing(History(HISTORY)) as history:
        history.forget(["out/file"])
        history.commit()
    code, _, err = said("history", "show", "out/file")
    assert code == 7
    assert "no record of a success of 'out/file'" in err


def test_diff_tells_what_files_say(said: Said) -> None:
    run(1)
    assert said("history", "diff")[:2] == (0, "Nothing differs.\n")
    Path("out/file").write_text("other")
    assert "out/file was changed by others: 1 bytes of" in said("history", "diff")[1]
    found = document(said, "history", "diff")
    assert found["changed"]["out/file"][0]["kind"] == "altered"


def test_diff_with_another_history(said: Said) -> None:
    run(1)
    run(2, "second")
    code, out, _ = said("history", "diff", ".ppg", "--root", "second")
    assert code == 0
    assert "    -1" in out
    assert "    +2" in out
    found = document(said, "history", "diff", str(HISTORY), "--root", "second")
    assert (found["only_before"], found["only_now"]) == ([], [])
    assert said("history", "diff", "elsewhere")[0] == 7
    with closing(History(Path("second/history/history.sqlite3"))) as history:
        history.forget(["out/file"])
        history.commit()
    assert said("history", "diff", ".ppg", "--root", "second")[1] == (
        "out/file: has a record only there\n"
    )
    assert said("history", "diff", "second", "--root", ".ppg")[1] == (
        "out/file: has a record only here\n"
    )


def test_forget_forgets_and_the_job_runs_again(said: Said) -> None:
    run(1)
    assert said("history", "forget", "gone")[0] == 7
    assert said("history", "forget", "out/*")[:2] == (0, "forgotten: out/file\n")
    run(1)
    assert ppg.global_pipegraph.last_run_result["out/file"].start_time
    assert document(said, "history", "forget", "out/file") == {"forgotten": ["out/file"]}


def test_forget_is_refused_while_a_run_is_under_way(said: Said) -> None:
    run(1)
    with closing(History(HISTORY)):
        code, _, err = said("history", "forget", "out/file")
        assert said("history", "show")[0] == 0
    assert code == 4
    assert "Another run of this project is under way" in err


def test_a_history_that_cannot_be_read_is_refused(said: Said) -> None:
    run(1)
    HISTORY.write_text("no history")
    code, _, err = said("history", "show")
    assert code == 4
    assert "cannot be read" in err


def test_several_histories_have_to_be_told_apart(said: Said) -> None:
    run(1, ".ppg/per_script/one")
    run(2, ".ppg/per_script/two")
    code, _, err = said("history", "show")
    assert code == 2
    assert "--root " in err
    assert ".ppg/per_script/one" in err
    assert said("history", "show", "--root", ".ppg/per_script/one")[0] == 0
    assert document(said, "explain", "out/file", "--root", ".ppg/per_script/one")["history"] == (
        ".ppg/per_script/one/history/history.sqlite3"
    )
    assert "two" in document(said, "explain", "out/file")["history"]  # the newest
    assert said("history", "forget", "out/file")[0] == 0


def test_import_puts_their_records_where_the_next_run_finds_them(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_unzipped", Path.read_bytes)
    Path("theirs").write_text(json.dumps({"out/file": "{}", "out/file!!!": ""}))
    code, out, _ = said("history", "import", "theirs", "--root", "imported")
    assert (code, out) == (
        0, "imported/history/history.sqlite3: 1 jobs taken over; the next run makes records of "
        "them\n",
    )  # fmt: skip
    found = document(said, "history", "import", "theirs", "--root", "imported")
    assert found["jobs"] == 1
    assert "taken over on " in said("history", "show", "--root", "imported")[1]
    with closing(History(Path("imported/history/history.sqlite3"))) as history:
        assert history.imported.keys() == ["out/file"]
    Path("theirs").write_text("no json")
    assert said("history", "import", "theirs", "--root", "imported")[0] == 4
    assert said("history", "import", "gone", "--root", "imported")[0] == 2
