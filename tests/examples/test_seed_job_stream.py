"""What the document of job_stream.inline shows, with `pypelinin.streams` imported instead.

Each example is a script of its own, run as `python script.py`, with slots. Broken as printed there,
and mended here: the document lost its indentation; `MyClass.classify` has no `self` and
`MyClass.jobs_classify`, a class method, no `cls`. It gives no output for some; then what the text
says of them is what is tested. Left out: `sweep`, which has tests of its own, and the classes
beginning with an underscore, "used for tests" of job_stream itself.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from pypelinin.errors import DefinitionError
from pypelinin.streams import inline
from tests.architecture.tree import ROOT


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Scripts:
    for name in ("PYPELININ_API", "PYPELININ_ACCESS", "PYPELININ_CHECKPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return _Scripts(tmp_path / "script.py")


class _Scripts:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, script: str) -> list[str]:
        """The lines that the script prints."""
        self._path.write_text(dedent(script), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-W", "error", str(self._path)],
            cwd=self._path.parent, capture_output=True, text=True, check=False, timeout=100,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()


def test_the_average_word_length(run: _Scripts) -> None:
    lines = run(
        """
        from pypelinin.streams import inline
        # Begin a new job_stream, treating each word in the string as a piece
        # of work.
        with inline.Work("Hello there world, how are you?".split()) as w:
            @w.job
            def getLen(w):
                # Transform each word into its length.
                return len(w)

            # A reducer combines the above answers; the result from the reducer
            # will be the stored cumulative length divided by the number of words,
            # or in other words the mean length.
            @w.reduce(emit = lambda store: store.len / store.count)
            def findAverage(store, inputs, others):
                # Initialize the data store if it hasn't been.
                if not hasattr(store, 'init'):
                    store.init = True
                    store.count = 0
                    store.len = 0.0

                # Add each word's length to ours, and increment count.
                for i in inputs:
                    store.len += i
                    store.count += 1

                # Merge with another reducer, adding their count and length to
                # our own.
                for o in others:
                    store.len += o.len
                    store.count += o.count

            @w.result
            def printer(result):
                # Print out the emit'd average.
                print(result)
        """
    )
    assert lines == [str(26.0 / 6)]


def test_a_class_that_adds_its_functionality_to_a_pipe(run: _Scripts) -> None:
    lines = run(
        """
        from pypelinin.streams.inline import Args, Work

        class MyClass:
            def classify(self, inputs):
                return inputs[0]

            @classmethod
            def jobs_classify(cls, w):
                @w.job
                def _classify(classifier, inputs):
                    return classifier.classify(inputs)

        with Work([ Args(MyClass(), [i]) for i in range(10) ]) as w:
            MyClass.jobs_classify(w)
            w.result(print)
        """
    )
    assert sorted(lines, key=int) == [str(i) for i in range(10)]


def test_args_are_fanned_out(run: _Scripts) -> None:
    """ "The below will print out" this; it does on the terminal of who runs the script."""
    lines = run(
        """
        from pypelinin.streams.inline import Args, Work

        with Work([ Args(1, 2, d=4, c=3) ]) as w:
            @w.job
            def handle(a, b, c, d):
                print("Got {}, {}, {}, {}".format(a, b, c, d))
        """
    )
    assert lines == ["Got 1, 2, 3, 4"]


def test_the_order_of_the_functions_matters(run: _Scripts) -> None:
    script = """
        import pypelinin.streams.inline as inline

        with inline.Work({items}) as w:
            @w.job
            def first(w):
                print("a: {{}}".format(w))
                return w+1

            @w.job
            def second(w):
                print("b: {{}}".format(w))
        """
    assert run(script.format(items=[1])) == ["a: 1", "b: 2"]
    # "If the list were longer, then more lines would be printed, one pair for each input."
    lines = run(script.format(items=[1, 20, 300]))
    assert sorted(lines) == ["a: 1", "a: 20", "a: 300", "b: 2", "b: 21", "b: 301"]


def test_sums_through_a_frame(run: _Scripts) -> None:
    """Documented: 4: 10, 8: 36, 5: 15, "out of order, but the sums line up"."""
    lines = run(
        """
        from pypelinin.streams.inline import Work, Multiple

        w = Work([ 4, 5, 8 ])

        @w.frame
        def sumThrough(store, first):
            # Remember, this is called like the header of a while statement: once at
            # the beginning, and each time our recurred work finishes. Anything
            # returned from this function will keep the loop running.
            if not hasattr(store, 'value'):
                # Store hasn't been initialized yet, meaning that this is the first
                # evaluation
                store.first = first
                store.value = 0
                return first
            # If we reach here, we're done. By not returning anything, job_stream knows
            # to exit the loop (finish the reduction). The default behavior of frame is
            # to emit the store object itself, which is fine.

        # Anything between an @frame decorated function and @frameEnd will be executed
        # for anything returned by the @frame or @frameEnd functions. We could have
        # returned multiple from @frame as well, but this is a little more fun
        @w.job
        def countTo(w):
            # Generate and emit as work all integers ranging from 1 to w, inclusive
            return Multiple(range(1, w + 1))

        @w.frameEnd
        def handleNext(store, next):
            # next is any work that made it through the stream between @frame and
            # @frameEnd. In our case, it is one of the integers between 1 and our
            # initial work.
            store.value += next

        @w.result
        def printMatchup(w):
            print("{}: {}".format(w.first, w.value))

        w.run()
        """
    )
    assert sorted(lines) == ["4: 10", "5: 15", "8: 36"]


def test_work_that_stays_in_the_original_process(run: _Scripts) -> None:
    """Of the whole stream, and of one job, which the original ignored."""
    lines = run(
        """
        import os
        from pypelinin.streams.inline import Work

        here = os.getpid()
        with Work([ 1, 2 ], useMultiprocessing=False) as w:
            @w.job
            def doAnything(work):
                print("all here", os.getpid() == here)

        with Work([ 1, 2 ]) as w:
            @w.job(useMultiprocessing=False)
            def doSomething(work):
                return os.getpid() == here

            @w.job
            def doAnother(isHere):
                return isHere, os.getpid() == here

            w.result(print)
        """
    )
    assert lines == ["all here True"] * 2 + ["(True, False)"] * 2


def test_init_and_finish(run: _Scripts) -> None:
    """Once before any jobs run; once after all of them, with a list of all results."""
    lines = run(
        """
        from pypelinin.streams.inline import Multiple, Work

        w = Work([1])

        @w.init
        def setup():
            print("init")
            return Multiple([ 1, 2, 3 ])

        @w.job
        def double(x):
            return x * 2

        @w.finish
        def done(results):
            print("finish", sorted(results))
            return sum(results)

        print("run", w.run())
        """
    )
    assert lines == ["init", "finish [2, 2, 4, 6]", "run 14"]


def test_map_is_the_builtin_one_in_parallel(run: _Scripts) -> None:
    lines = run(
        """
        from pypelinin.streams import inline

        print(inline.map(lambda x: x * x, range(10)) == list(map(lambda x: x * x, range(10))))
        print(inline.map(lambda a, b: a + b, [1, 2, 3], [10, 20], slots=1))
        """
    )
    assert lines == ["True", "[11, 22]"]


# --- what the text says of members ----------------------------------------------------------------


def test_multiple_emits_or_recurs_several() -> None:
    work = inline.Work([0], useMultiprocessing=False)
    work.job(lambda _: inline.Multiple([1, 2, 3]))
    assert sorted(work.run()) == [1, 2, 3]


def test_without_a_result_handler_run_returns_the_list() -> None:
    work = inline.Work([1, 2, 3], useMultiprocessing=False)
    assert sorted(work.run()) == [1, 2, 3]


def test_result_and_finish_exclude_each_other() -> None:
    """ "Cannot be used if Work.result is used."""
    work = inline.Work([1])
    work.result(print)
    with pytest.raises(DefinitionError, match=r"Work\.result\|finish"):
        work.finish(print)


def test_whatever_a_frame_returns_is_recursed_and_its_store_is_emitted() -> None:
    work = inline.Work([3], useMultiprocessing=False)

    @work.frame
    def down(store: inline.Object, first: int) -> int | None:
        store.n = getattr(store, "n", first) - 1
        return store.n if store.n else None

    work.frameEnd(lambda store, item: None)
    assert work.run() == [inline.Object(n=0)]


def test_any_set_of_work_is_emitted_by_a_reducer_as_one() -> None:
    work = inline.Work(range(10), useMultiprocessing=False)

    @work.reduce(store=list)
    def gather(store: list[int], works: list[int], others: list[list[int]]) -> None:
        store += works
        for other in others:
            store += other

    (gathered,) = work.run()
    assert sorted(gathered) == list(range(10))


def test_the_checkpoint_flags_are_taken(tmp_path: Path) -> None:
    """init "is never run when continuing from a checkpoint"."""
    path = tmp_path / "job_stream.chkpt"
    calls: list[str] = []
    broken = [True]

    def job(item: int) -> int:
        if broken[0] and item == 2:
            raise OSError("not yet")
        return item

    work = inline.Work(
        [1, 2, 3], useMultiprocessing=False, checkpointFile=str(path), checkpointInterval=0.0,
        checkpointSyncInterval=0.0,
    )  # fmt: skip
    work.init(lambda: calls.append("init"))
    work.job(job)
    with pytest.raises(inline.ItemFailed):
        work.run()
    broken[0] = False
    assert sorted(work.run()) == [1, 2, 3]
    assert calls == ["init"]
    assert not path.exists()
