"""Loaders: when they run, what stands for their data, and when that goes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental.jobs.loading import (
    INPUTS_VIEW,
    LOADED_VIEW,
    agrees,
    digest_of,
    plain,
)


class Store:
    """Where loaders put what they load; a class, so functions may read it undeclared."""

    entries: dict[str, Any]
    log: list[str]
    value: Any


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Store.entries, Store.log = {}, []
    begin()
    yield
    ppg.change_global_pipegraph(None)
    if "value" in vars(Store):
        del Store.value


def begin(run_mode: ppg.RunMode = ppg.RunMode.NONINTERACTIVE) -> ppg.PyPipeGraph:
    return ppg.new(
        cores=1, run_mode=run_mode, dir_config=".ppg", log_level=ppg.default,
        allow_short_filenames=True, log_retention=ppg.default,
        prevent_absolute_paths=ppg.default, push_events=ppg.default, log_address=None,
    )  # fmt: skip


def load() -> list[int]:
    Store.log.append("loaded")
    return [1, 2, 3]


def write(path: Path) -> None:
    path.write_text(repr(Store.value))


def write_entry(path: Path) -> None:
    path.write_text(repr(Store.entries["a"]))


def attribute(function: Any = load) -> ppg.AttributeLoadingJob:
    return ppg.AttributeLoadingJob("load", Store, "value", function)


def ended() -> dict[str, str]:
    """How each job ended, but for invariants."""
    found = ppg.run()
    return {name: one.outcome.name for name, one in found.items() if not name.startswith("FI")}


# --- when they run ------------------------------------------------------------------------------


def test_data_is_there_for_a_job_and_gone_afterwards() -> None:
    ppg.FileGeneratingJob("out", write).depends_on(attribute())
    assert ended() == {"load": "Success", "out": "Success"}
    assert Path("out").read_text() == "[1, 2, 3]"
    assert not hasattr(Store, "value")


def test_a_loader_that_nobody_needs_does_not_run() -> None:
    attribute()
    assert ended() == {"load": "Skipped"}
    assert Store.log == []


def test_a_loader_runs_once_for_many_jobs() -> None:
    loader = attribute()
    for name in ("one", "two", "three"):
        ppg.FileGeneratingJob(name, write).depends_on(loader)
    ended()
    assert Store.log == ["loaded"]


def test_nothing_is_loaded_if_nothing_is_to_be_done() -> None:
    for _ in range(2):
        begin()
        ppg.FileGeneratingJob("out", write).depends_on(attribute())
        found = ended()
    assert found["out"] == "Skipped"
    assert Store.log == ["loaded"]


def test_loaders_work_twice_in_one_graph_and_return_any_object() -> None:
    loader = attribute(lambda: object)
    one = ppg.FileGeneratingJob("one", write).depends_on(loader)
    ended()
    two = ppg.FileGeneratingJob("two", write).depends_on(loader)
    assert ended() == {"load": "Success", "one": "Skipped", "two": "Success"}
    os.unlink("one")
    assert ended()["one"] == "Success"
    assert one.failed is two.failed is False


def test_loaders_that_read_loaders_run_in_order() -> None:
    def first() -> str:
        Store.log.append("first")
        return "first"

    def second() -> str:
        Store.log.append("second")
        return Store.entries["first"] + " and second"

    a = ppg.DictEntryLoadingJob(
        "a", Store.entries, "first", first)  # fmt: skip
    b = ppg.AttributeLoadingJob("b", Store, "value", second).depends_on(a)
    ppg.FileGeneratingJob("out", write).depends_on(b)
    assert ended() == {"a": "Success", "b": "Success", "out": "Success"}
    assert Path("out").read_text() == "'first and second'"
    assert Store.log == ["first", "second"]
    assert Store.entries == {}


def test_a_generator_in_mid_run_does_not_have_data_loaded_twice() -> None:
    """What cannot be taken in makes a second pass; the data stays for it."""

    def fill() -> ppg.UseInputHashesForOutput:
        Store.log.append("loaded")
        Store.value = 5
        return ppg.UseInputHashesForOutput()

    def grow() -> None:
        Store.log.append("grown")
        ppg.FileGeneratingJob("late", write).depends_on(ppg.global_pipegraph.jobs["load"])
        ppg.global_pipegraph.jobs["early"].depends_on_params(1, "grown")

    loader = ppg.DataLoadingJob("load", fill)
    ppg.FileGeneratingJob("early", write).depends_on(loader)
    ppg.JobGeneratingJob("grow", grow).depends_on(loader)
    found = ended()
    assert found["late"] == found["early"] == "Success"
    assert Store.log.count("loaded") == 1


# --- what stands for the data -------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["text", b"text", ppg.ValuePlusHash(object(), "abc")], ids=["str", "bytes", "hash"]
)
def test_a_value_that_says_what_it_is_decides_alone(value: Any) -> None:
    view, digest = digest_of(value, b"1", "job")
    assert view == LOADED_VIEW
    assert digest_of(value, b"2", "job") == (view, digest)


def test_text_is_not_bytes() -> None:
    assert digest_of("text", b"", "job") != digest_of(b"text", b"", "job")
    assert digest_of("text", b"", "job") != digest_of(ppg.ValuePlusHash(1, "text"), b"", "job")


@pytest.mark.parametrize("value", [5, [1], ppg.UseInputHashesForOutput(5)])
def test_for_any_other_object_its_inputs_decide(value: Any) -> None:
    assert digest_of(value, b"1", "job") == digest_of(object(), b"1", "job")
    assert digest_of(value, b"1", "job") != digest_of(value, b"2", "job")
    assert digest_of(value, b"1", "job")[0] == INPUTS_VIEW


def test_a_loader_that_returns_nothing_fails() -> None:
    ppg.FileGeneratingJob("out", write).depends_on(attribute(lambda: None))
    with pytest.raises(ppg.JobsFailed) as failed:
        ppg.run()
    assert "UseInputHashesForOutput" in str(failed.value.exceptions[0])
    assert ppg.global_pipegraph.last_run_result["out"].error == "Upstream"


def test_what_is_put_into_place_is_the_value_itself() -> None:
    assert plain(ppg.ValuePlusHash([1], "abc")) == [1]
    assert plain(ppg.UseInputHashesForOutput([2])) == [2]
    assert plain([3]) == [3]


def test_readers_rest_if_another_way_of_loading_gives_the_same_text() -> None:
    for function in (lambda: "the " + "text", lambda: "".join(["the ", "text"])):
        begin()
        ppg.FileGeneratingJob("out", write).depends_on(attribute(function))
        found = ended()
    assert found == {"load": "Success", "out": "Skipped"}


def test_readers_run_if_other_text_was_loaded() -> None:
    for function in (lambda: "the text", lambda: "other text"):
        begin()
        ppg.FileGeneratingJob("out", write).depends_on(attribute(function))
        assert ended()["out"] == "Success"
    assert Path("out").read_text() == "'other text'"


def test_text_that_changes_on_its_own_fails_the_loader() -> None:
    for text in ("one", "two"):
        begin()
        Path("source").write_text(text)
        ppg.FileGeneratingJob(text, write).depends_on(attribute(lambda: Path("source").read_text()))
        if text == "one":
            ended()
    with pytest.raises(ppg.JobsFailed, match="load") as failed:
        ppg.run()
    assert "something else than the last time" in str(failed.value.exceptions[0])


def test_code_that_is_only_written_in_another_way_is_no_change(tmp_path: Path) -> None:
    """The byte code is the same and the source is not: what stands for the inputs differs."""
    import importlib.util

    for number, body in enumerate(("return [1, 2]", "return ([1, 2])")):
        begin()
        source = tmp_path / f"loader{number}.py"
        source.write_text(f"def load():\n    {body}\n")
        spec = importlib.util.spec_from_file_location(source.stem, source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        loader = attribute(module.load)
        ppg.FileGeneratingJob("old", write).depends_on(loader)
        ppg.FileGeneratingJob(f"new{number}", write).depends_on(loader)
        found = ended()
    assert found["old"] == "Skipped"
    assert found["new1"] == "Success"


def test_agreement_is_by_digest_or_by_unchanged_inputs() -> None:
    by_inputs = (((INPUTS_VIEW, b"1"),),)
    assert agrees(by_inputs, (((INPUTS_VIEW, b"2"),),))
    assert agrees((((LOADED_VIEW, b"1"),),), (((LOADED_VIEW, b"1"),),))
    assert not agrees((((LOADED_VIEW, b"1"),),), (((LOADED_VIEW, b"2"),),))
    assert not agrees(by_inputs, (((LOADED_VIEW, b"1"),),))


# --- when the data goes -------------------------------------------------------------------------


def test_dict_entries_go_with_their_last_reader() -> None:
    loader = ppg.DictEntryLoadingJob("load", Store.entries, "a", load)
    ppg.FileGeneratingJob("out", write_entry).depends_on(loader)
    ended()
    assert Path("out").read_text() == "[1, 2, 3]"
    assert Store.entries == {}


def test_dict_entries_stay_in_an_interactive_console_and_are_used_again() -> None:
    begin(ppg.RunMode.CONSOLE_INTERACTIVE)
    loader = ppg.DictEntryLoadingJob("load", Store.entries, "a", load)
    ppg.FileGeneratingJob("one", write_entry).depends_on(loader)
    ended()
    assert Store.entries == {"a": [1, 2, 3]}
    ppg.FileGeneratingJob("two", write_entry).depends_on(loader)
    assert ended()["two"] == "Success"
    assert Store.log == ["loaded"]


@pytest.mark.parametrize("how", ["another entry", "no entry", "another input"])
def test_an_entry_that_stayed_is_loaded_anew_if(how: str) -> None:
    begin(ppg.RunMode.CONSOLE_INTERACTIVE)
    loader = ppg.DictEntryLoadingJob("load", Store.entries, "a", load)
    ppg.FileGeneratingJob("one", write_entry).depends_on(loader)
    ended()
    if how == "another entry":
        Store.entries["a"] = "mine"
    elif how == "no entry":
        Store.entries.clear()
    else:
        loader.depends_on_params(5)
    ppg.FileGeneratingJob("two", write_entry).depends_on(loader)
    ended()
    assert Store.log == ["loaded", "loaded"]
    assert Path("two").read_text() == "[1, 2, 3]"


def test_data_stays_after_a_failure_and_is_used_for_the_next_try() -> None:
    def fail_once(path: Path) -> None:
        assert os.path.exists("fine"), "not yet"
        path.write_text(repr(Store.value))

    ppg.FileGeneratingJob("out", fail_once).depends_on(attribute())
    with pytest.raises(ppg.JobsFailed):
        ppg.run(print_failures=False)
    assert Store.value == [1, 2, 3]
    Path("fine").touch()
    ended()
    assert Path("out").read_text() == "[1, 2, 3]"
    assert Store.log == ["loaded"]
    assert not hasattr(Store, "value")


def test_what_a_data_loading_job_loaded_is_loaded_anew_after_a_failure() -> None:
    """Nobody but its author knows where it put the data."""

    def fill() -> str:
        Store.log.append("loaded")
        return "text"

    def fail(path: Path) -> None:
        raise ValueError("never")

    ppg.FileGeneratingJob("out", fail).depends_on(ppg.DataLoadingJob("load", fill))
    for _ in range(2):
        with pytest.raises(ppg.JobsFailed):
            ppg.run(print_failures=False)
    assert Store.log == ["loaded", "loaded"]


def test_a_second_pass_that_needs_no_data_does_not_keep_it() -> None:
    def fill() -> str:
        Store.log.append("loaded")
        Store.value = 5
        return "text"

    def grow() -> None:  # a job that does not depend on the generator changes: a second pass
        ppg.global_pipegraph.jobs["other"].depends_on_params(1)

    loader = ppg.DataLoadingJob("load", fill)
    ppg.FileGeneratingJob("one", write).depends_on(loader)
    ppg.FileGeneratingJob("other", lambda path: path.write_text("x"))
    ppg.JobGeneratingJob("grow", grow)
    ended()
    ppg.FileGeneratingJob("two", write).depends_on(loader)
    ended()
    assert Store.log == ["loaded", "loaded"]


def test_what_somebody_else_took_away_is_not_missed() -> None:
    def take_away(path: Path) -> None:
        write(path)
        del Store.value

    job = ppg.FileGeneratingJob("out", take_away, resources=ppg.Resources.RunsHere)
    job.depends_on(attribute())
    assert ended()["out"] == "Success"


# --- bad input ----------------------------------------------------------------------------------


def test_a_loader_that_changes_the_working_directory_fails(tmp_path: Path) -> None:
    def wander() -> str:
        os.chdir("/")
        return "text"

    ppg.FileGeneratingJob("out", write).depends_on(attribute(wander))
    with pytest.raises(ppg.JobsFailed) as failed:
        ppg.run(print_failures=False)
    assert isinstance(failed.value.exceptions[0].exception, ppg.JobContractError)
    assert Path.cwd() == tmp_path


def test_arguments_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(TypeError, match="function"):
        ppg.DataLoadingJob("load", 5)
    with pytest.raises(ValueError, match="name of an attribute"):
        ppg.AttributeLoadingJob("load", Store, 5, load)
    with pytest.raises(ValueError, match="mapping"):
        ppg.DictEntryLoadingJob("load", [], "a", load)
    assert ppg.global_pipegraph.jobs == {}


def test_the_same_name_for_another_place_is_refused() -> None:
    attribute()
    with pytest.raises(ppg.JobRedefinitionError, match="load"):
        ppg.AttributeLoadingJob("load", Store, "other", load)


def test_arguments_have_the_names_and_order_of_version_2() -> None:
    ppg.DataLoadingJob("a", lambda: 1, ppg.Resources.SingleCore, False)
    ppg.AttributeLoadingJob("b", object=Store, attribute_name="v", data_function=lambda: 1)
    ppg.DictEntryLoadingJob("c", object={}, attribute_name="v", data_function=lambda: 1)
    assert "FIa" not in ppg.global_pipegraph.jobs
    assert {"FIb", "FIc"} <= set(ppg.global_pipegraph.jobs)
