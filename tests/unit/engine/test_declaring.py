"""What a graph may not be."""

from __future__ import annotations

import pytest

from pypelinin.engine.run import Run
from pypelinin.errors import DefinitionError
from pypelinin.graph.declared import ALWAYS, OUTPUT, After, Declared, Input, Record

PLAIN = Declared()
FINAL = Declared(final=True)


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ([Declared(inputs=[Input(0)])], "no job 0 to read from"),
        ([Declared(after=[After(3)])], "no job 3 to come after"),
        ([PLAIN, Declared(inputs=[Input(0, ("x",))])], "no outputs"),
        ([Declared(name="a"), Declared(name="a")], "called 'a'"),
        ([Declared(OUTPUT)], "needs a name"),
        ([PLAIN, Declared(OUTPUT, [Input(0)], name="o")], "reads needs a name"),
        (
            [Declared(name="u"), Declared(OUTPUT, [Input(0, None, True)], name="o")],
            "Only jobs that always run",
        ),
        ([FINAL, Declared(inputs=[Input(0)])], "Only final jobs may depend on final"),
        ([FINAL, Declared(after=[After(0)])], "Only final jobs may depend on final"),
    ],
)
def test_what_is_no_graph_is_refused(jobs: list[Declared], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        Run(jobs)


def test_the_record_of_a_job_that_always_runs_is_forgotten() -> None:
    """Rule 14: it would speak for the job when that is an OUTPUT again."""
    run = Run([Declared(ALWAYS, name="a", record=Record((), {"": ()}, {}))])
    assert run.take().forget == [0]


def test_a_second_edge_widens_the_first() -> None:
    jobs = [
        Declared(outputs=("a", "b"), name="u"),
        Declared(inputs=[Input(0, ("a",), True), Input(0, ("b",))], name="c"),
    ]
    run = Run(jobs)
    ((up, outputs, tolerant),) = run.jobs[1].inputs
    assert (up.number, outputs, tolerant) == (0, 0b11, False)
