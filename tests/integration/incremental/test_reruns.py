"""Graph, change, expected re-runs: what is executed after each change, and nothing else.

A row has words, a world (see `scene`) and steps: a change and what is executed then, `!a` if it
fails. Before them everything is run once, after them once more: then nothing is executed. Each
row runs by itself in this process, and all of them as one graph in slots.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental import start
from pypelinin.incremental.graph import Options
from tests.integration.incremental.scene import ALWAYS, WORLDS, World

Step = tuple[str, str]
Row = tuple[str, str, tuple[Step, ...]]


def row(words: str, line: str, *steps: Step) -> Row:
    return words, line, steps


def each(kinds: str, rows: list[Row]) -> list[Row]:
    """The same rows for several kinds of jobs: KIND stands for each."""
    return [
        (f"{kind}: {words}", line.replace("KIND", kind), steps)
        for kind in kinds.split()
        for words, line, steps in rows
    ]


# a stands in the middle: it reads of all invariants, b reads it, and c what b makes.
CHAIN = "i=FILE; p=PARAM; f=FUNC; a=KIND(i,p,f); b=file(a); c=file(b)"
BLUNT = "i=FILE; p=PARAM; f=FUNC; a=KIND!(i,p,f); b=file(a); c=file(b)"

INPUTS = [
    row("unchanged", CHAIN, ("", "")),
    row("input changed", CHAIN, ("edit i", "a b c")),
    row("input touched, same content", CHAIN, ("touch i", "")),
    row("input changed with same output", BLUNT, ("edit i", "a")),
    row("parameter changed", CHAIN, ("edit p", "a b c")),
    row("parameter changed with same output", BLUNT, ("edit p", "a")),
    row("function that it follows changed", CHAIN, ("edit f", "a b c")),
    row("its own function changed", CHAIN, ("edit a", "a b c")),
    row("its own function changed, same output", CHAIN, ("recode a", "a")),
    row("changed and changed back", CHAIN, ("edit i; revert i", "")),
    row("changed, run, changed back", CHAIN, ("edit i", "a b c"), ("revert i", "a b c")),
    row("added input", CHAIN, ("define q=PARAM; add q to a", "a b c")),
    row("added input with same output", BLUNT, ("define q=PARAM; add q to a", "a")),
    row("removed input", CHAIN, ("remove p of a", "a b c")),
    row("removed input with same output", BLUNT, ("remove p of a", "a")),
    row("renamed input of the same content", CHAIN, ("rename i to j", "a")),
    row("renamed parameter of the same value", CHAIN, ("rename p to z", "a")),
    row("two inputs changed at once", CHAIN, ("edit i; edit p", "a b c")),
    row("failed, then mended", CHAIN, ("edit i; fail a", "!a"), ("", "a b c")),
    row("failed, change undone", CHAIN, ("edit i; fail a", "!a"), ("revert i", "a")),
    row("failed twice", CHAIN, ("edit i; fail a", "!a"), ("fail a", "!a"), ("", "a b c")),
    row("dropped and returned", CHAIN, ("drop c", ""), ("return c", "")),
    row("dropped while an input changed", CHAIN, ("drop c; edit i", "a b"), ("return c", "c")),
]

# What every kind must show; the others follow from what kinds share.
CORE = [INPUTS[n] for n in (0, 1, 3, 7, 9, 11, 13, 15, 17, 18)]

STOPPED = [
    row("interrupted", CHAIN, ("edit i; interrupt a", "!a"), ("", "a b c")),
    row("interrupted, change undone", CHAIN, ("edit i; interrupt a", "!a"), ("revert i", "a")),
    row("aborted while it runs", CHAIN, ("edit i; abort a", "a"), ("", "b c")),
    row("aborted after it, change undone", CHAIN, ("edit i; abort a", "a"), ("revert i", "a")),
]

KEPT = [
    row("output deleted", CHAIN, ("delete a", "a")),
    row("output emptied", CHAIN, ("empty a", "a")),
    row("output tampered", CHAIN, ("tamper a", "a")),
    row("output touched", CHAIN, ("touch a", "")),
    row("output deleted and input changed", CHAIN, ("delete a; edit i", "a b c")),
    row("output of its reader deleted", CHAIN, ("delete b", "b")),
    row("output of its reader tampered", CHAIN, ("tamper b", "b")),
    row("outputs of all deleted", CHAIN, ("delete a; delete b; delete c", "a b c")),
    row("renamed output", CHAIN, ("rename a to z", "z b")),
    row("redefined as temporary", CHAIN, ("define a=temp(i,p,f)", "a")),
    row("redefined with more files", CHAIN, ("define a=multi(i,p,f)", "a b c")),
]


def several(rows: list[Row]) -> list[Row]:
    """Of jobs with several files, the first is disturbed."""
    return [
        (words, line, tuple((change.replace(" a", " a.1"), ran) for change, ran in steps))
        for words, line, steps in rows
    ]


ONE = "i=FILE; a=KIND!1(i); b=file(a.1); c=file(a.2); d=file(a)"

PARTS = [
    row("only the other file changed", ONE, ("edit i", "a c d")),
    row("the second deleted", ONE, ("delete a.2", "a")),
    row("the second tampered", ONE, ("tamper a.2", "a")),
    row("both deleted", ONE, ("delete a.1; delete a.2", "a")),
    row("readers of one and of all deleted", ONE, ("delete b; delete d", "b d")),
    row("reads one file more", ONE, ("add a.2 to b", "b")),
    row("reads one file less", ONE, ("remove a of d; add a.1 to d", "d")),
]

TEMPORARY = [
    row("its reader's output deleted", CHAIN, ("delete b", "a b")),
    row("its reader's output tampered", CHAIN, ("tamper b", "a b")),
    row("its reader's output emptied", CHAIN, ("empty b", "a b")),
    row("reader's function changed", CHAIN, ("edit b", "a b c")),
    row("the last one's output deleted", CHAIN, ("delete c", "c")),
    row("its reader gets an input", CHAIN, ("define q=PARAM; add q to b", "a b c")),
    row("its reader reads it no more", CHAIN, ("remove a of b; edit i", "b c")),
    row("changed and nobody reads it", CHAIN, ("drop b; drop c; edit i", "")),
    row("a second reader", CHAIN, ("define d=file(a)", "a d")),
    row("reader deleted and input changed with same output", BLUNT, ("edit i; delete b", "a b")),
    row("renamed", CHAIN, ("rename a to z", "z b")),
]

LEFT = [
    row("failed reader keeps it", CHAIN, ("edit b; fail b", "a !b"), ("", "b c")),
    row("kept for a failed reader, input changed", CHAIN,
        ("edit b; fail b", "a !b"), ("edit i", "a b c")),
    row("kept for a failed reader, tampered", CHAIN,
        ("edit b; fail b", "a !b"), ("tamper a", "a b c")),
    row("kept for a failed reader, deleted", CHAIN,
        ("edit b; fail b", "a !b"), ("delete a", "a b c")),
    row("kept for a failed reader, emptied", CHAIN,
        ("edit b; fail b", "a !b"), ("empty a", "a b c")),
    row("one of two readers failed", "i=FILE; a=KIND(i); b=file(a); d=file(a)",
        ("edit i; fail b", "a !b d"), ("", "b")),
    row("failed itself, its reader's output is there", CHAIN,
        ("delete b; fail a", "!a"), ("", "a b")),
]  # fmt: skip

PLUS = [
    row("kept file deleted", CHAIN, ("delete a.log", "a")),
    row("kept file emptied", CHAIN, ("empty a.log", "a")),
    row("kept file tampered", CHAIN, ("tamper a.log", "a")),
    row("reader's output deleted", CHAIN, ("delete b", "a b")),
    row("reader's output and kept file deleted", CHAIN, ("delete b; delete a.log", "a b")),
    row("nobody reads it, input changed", "i=FILE; a=plus(i)", ("edit i", "a")),
    row("nobody reads it, unchanged", "i=FILE; a=plus(i)", ("", "")),
]

GENERATOR = "i=FILE; g=gen(i); x<g=file(i); y<g=file(x); b=file(g)"
GENERATED = [
    row("unchanged", GENERATOR, ("", "g")),
    row("input changed, makes the same jobs", GENERATOR, ("edit i", "g x y")),
    row("its function changed", GENERATOR, ("recode g", "g")),
    row("makes one job more", GENERATOR, ("define z<g=file(x)", "g z b")),
    row("makes one job less", GENERATOR, ("drop y", "g b")),
    row("makes one again that it had left out", GENERATOR, ("drop y", "g b"), ("return y", "g b")),
    row("output of a made job deleted", GENERATOR, ("delete x", "g x")),
    row("output of a made job tampered", GENERATOR, ("tamper y", "g y")),
    row("output of a made job emptied", GENERATOR, ("empty y", "g y")),
    row("made job's function changed", GENERATOR, ("edit x", "g x y")),
    row("made job's function changed, same output", GENERATOR, ("recode x", "g x")),
    row("made job gets an input", GENERATOR, ("define q=PARAM; add q to x", "g x y b")),
    row("made job failed", GENERATOR, ("edit i; fail x", "g !x"), ("", "g x y")),
    row("failed itself", GENERATOR, ("fail g", "!g"), ("", "g")),
    row("failed itself, reader's output deleted", GENERATOR,
        ("fail g; delete b", "!g"), ("", "g b")),
    row("renamed", GENERATOR, ("rename x to w", "g w y b")),
    row("interrupted", GENERATOR, ("edit i; interrupt g", "!g"), ("", "g x y")),
    row("aborted", GENERATOR, ("edit i; abort g", "g"), ("", "g x y")),
    row("made temporary, reader deleted", "i=FILE; g=gen; t<g=temp(i); x<g=file(t)",
        ("delete x", "g t x")),
    row("made temporary, unchanged", "i=FILE; g=gen; t<g=temp(i); x<g=file(t)", ("", "g")),
    row("made loader, input changed", "i=FILE; g=gen; t<g=data(i); x<g=file(t)",
        ("edit i", "g t x")),
    row("reads a kept file of another", "i=FILE; a=file(i); g=gen(a); x<g=file(a)",
        ("edit i", "a g x")),
    row("reads a temporary file", "i=FILE; a=temp(i); g=gen(a); x<g=file(i)", ("", "a g")),
    row("reads loaded data", "i=FILE; a=data(i); g=gen(a); x<g=file(i)", ("", "a g")),
    row("a generator made by a generator", "i=FILE; g=gen; h<g=gen; x<h=file(i)",
        ("edit i", "g h x")),
]  # fmt: skip

INJECTOR = "i=FILE; j=FILE; d=inject(i); x<d=file(i); b=file(d,j); c=file(b)"
INJECTED = [
    row("unchanged", INJECTOR, ("", "d")),
    row("input of the injected job changed", INJECTOR, ("edit i", "b c d x")),
    row("input of the reader changed", INJECTOR, ("edit j", "b c d")),
    row("injected output deleted", INJECTOR, ("delete x", "d x")),
    row("injected output tampered", INJECTOR, ("tamper x", "d x")),
    row("injects one more", INJECTOR, ("define y<d=file(j)", "b c d y")),
    row("injects none any more", INJECTOR, ("drop x", "b c d")),
    row("injected job failed", INJECTOR, ("edit i; fail x", "d !x"), ("", "b c d x")),
    row("failed itself, reader's input changed", INJECTOR,
        ("fail d; edit j", "!d"), ("", "b c d")),
    row("injects a temporary file", "i=FILE; d=inject; x<d=temp(i); b=file(d)", ("", "d")),
    row("injects a temporary file, reader deleted", "i=FILE; d=inject; x<d=temp(i); b=file(d)",
        ("delete b", "b d x")),
    row("injects loaded data, its input changed", "i=FILE; d=inject; x<d=data(i); b=file(d)",
        ("edit i", "b d x")),
    row("aborted", INJECTOR, ("edit i; abort d", "d"), ("", "b c d x")),
]  # fmt: skip

LAST = "i=FILE; a=file(i); t=temp(i); b=file(t); z=final"
FINAL = [
    row("unchanged", LAST, ("", "z")),
    row("something ran", LAST, ("edit i", "a b t z")),
    row("something failed", LAST, ("edit i; fail a", "!a b t"), ("", "a z")),
    row("failed itself", LAST, ("fail z", "!z"), ("", "z")),
    row("aborted", LAST, ("edit a; abort a", "a"), ("", "z")),
    row("its function changed", LAST, ("recode z", "z")),
]

SHAPES = [
    # features 2: an input that is not kept has run before what reads it starts (defect 1)
    row("chain of temporaries, only the last reader is dirty",
        "p=PARAM; t=temp; u=temp(t); c=file(u,p); d=file(t)", ("edit p", "t u c")),
    row("chain of temporaries, unchanged", "i=FILE; t=temp(i); u=temp(t); c=file(u)", ("", "")),
    row("chain of temporaries, end deleted", "i=FILE; t=temp(i); u=temp(t); c=file(u)",
        ("delete c", "t u c")),
    row("chain of temporaries, cut off in the middle", "i=FILE; t=temp!(i); u=temp(t); c=file(u)",
        ("edit i", "t")),
    row("chain of temporaries, first one same, end deleted",
        "i=FILE; t=temp!(i); u=temp(t); c=file(u)", ("edit i; delete c", "t u c")),
    row("chain of loaders, end deleted", "i=FILE; l=data(i); m=attr(l); c=file(m)",
        ("delete c", "l m c")),
    row("chain of loaders, unchanged", "i=FILE; l=data(i); m=attr(l); c=file(m)", ("", "")),
    row("chain of loaders, input changed", "i=FILE; l=data(i); m=entry(l); c=file(m)",
        ("edit i", "l m c")),
    row("loader of a temporary file, end deleted", "i=FILE; t=temp(i); l=data(t); c=file(l)",
        ("delete c", "t l c")),
    row("temporary file of loaded data, end deleted", "i=FILE; l=data(i); t=temp(l); c=file(t)",
        ("delete c", "l t c")),
    row("diamond, input changed", "i=FILE; a=file(i); b=file(a); c=file(a); d=file(b,c)",
        ("edit i", "a b c d")),
    row("diamond, one side deleted", "i=FILE; a=file(i); b=file(a); c=file(a); d=file(b,c)",
        ("delete b", "b")),
    row("diamond, one side the same", "i=FILE; a=file(i); b=file!(a); c=file!(a); d=file(b,c)",
        ("edit i", "a b c")),
    row("diamond, one side fails", "i=FILE; a=file(i); b=file(a); c=file(a); d=file(b,c)",
        ("edit i; fail b", "a !b c"), ("", "b d")),
    row("diamond of temporaries", "i=FILE; a=temp(i); b=temp(a); c=temp(a); d=file(b,c)",
        ("delete d", "a b c d")),
    row("temporary with two readers, one deleted", "i=FILE; a=temp(i); b=file(a); c=file(a)",
        ("delete b", "a b")),
    row("nobody reads the temporary file", "i=FILE; a=temp(i)", ("", "")),
    row("nobody reads the loader", "i=FILE; a=data(i)", ("edit i", "")),
    row("failure leaves what is beside it alone", "i=FILE; a=file(i); b=file(a); c=file(i)",
        ("edit i; fail a", "!a c"), ("", "a b")),
    row("two fail", "i=FILE; a=file(i); b=file(i); c=file(a,b)",
        ("edit i; fail a; fail b", "!a !b"), ("", "a b c")),
    row("a reader is added", "i=FILE; a=file(i)", ("define b=file(a)", "b")),
    row("a job between is added", "i=FILE; a=file(i); b=file(a)",
        ("define m=file(a); remove a of b; add m to b", "m b")),
    row("a file that was given is made now", "i=FILE; b=file(i)", ("define i=file", "b i")),
    row("a file that was there before", "a=file", ("define i=FILE; define b=file(i)", "b")),
    row("removed for two runs", "i=FILE; a=file(i); b=file(a)",
        ("drop b", ""), ("", ""), ("return b", "")),
    row("removed, input changed and back", "i=FILE; a=file(i); b=file(a)",
        ("drop b; edit i", "a"), ("revert i; return b", "a")),
    row("another set of outputs, and back", "i=FILE; a=multi(i); b=file(a)",
        ("define a=file(i)", "a b"), ("define a=multi(i)", "b")),
    row("kinds of temporaries change", "i=FILE; a=temp(i); b=file(a)",
        ("define a=data(i)", "a b")),
    row("temporary file becomes a kept one", CHAIN.replace("KIND", "temp"),
        ("define a=file(i,p,f)", "a")),
    row("loader becomes a kept file", CHAIN.replace("KIND", "data"),
        ("define a=file(i,p,f)", "a b")),
    row("several temporary files become kept ones", CHAIN.replace("KIND", "multitemp"),
        ("define a=multi(i,p,f)", "a")),
    row("multi-file jobs are injected", "i=FILE; d=inject; x<d=multi(i); b=file(d)", ("", "d")),
    row("job without inputs, output deleted", "a=file; b=file(a)", ("delete a", "a")),
    row("reader and source deleted", "i=FILE; a=file(i); b=file(a); c=file(b)",
        ("delete a; delete c", "a c")),
    row("wide: one of five inputs changed",
        "i=FILE; j=FILE; a=file(i); b=file(i); c=file(j); d=file(j); e=file(a,b,c,d)",
        ("edit j", "c d e")),
]  # fmt: skip

ROWS = [
    *each("file multi", [*INPUTS, *STOPPED]),
    *each("dict", [*CORE, *STOPPED]),
    *each("file", KEPT),
    *each("multi dict", [*several(KEPT[:8]), *PARTS]),
    *each("temp", [*INPUTS, *STOPPED, *TEMPORARY, *LEFT]),
    *each("multitemp tempdict", [*CORE, *STOPPED[:1], *TEMPORARY]),
    *each("plus", [*INPUTS, *STOPPED, *PLUS]),
    *each("data", [*INPUTS, *STOPPED[:2], *TEMPORARY]),
    *each("attr entry", [*CORE, *STOPPED[:1], *TEMPORARY]),
    *each("gen", GENERATED),
    *each("inject", INJECTED),
    *each("final", FINAL),
    *SHAPES,
]
IDS = [words for words, _, _ in ROWS]


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "_last", Options(log_address=None))
    yield
    ppg.change_global_pipegraph(None)
    WORLDS.clear()


def run(*worlds: World) -> dict[str, ppg.RecordedJobOutcome]:
    """One run of them all, as a script would do it: from nothing but what is on the disk."""
    graph = ppg.new(
        cores=2, run_mode=ppg.RunMode.NONINTERACTIVE, dir_config=".state",
        allow_short_filenames=True,
    )  # fmt: skip
    for world in worlds:
        world.define()
    try:
        return graph.run(print_failures=False, raise_on_job_error=False)
    except KeyboardInterrupt:
        assert any(world.interrupting for world in worlds)
        return {}


def judge(world: World, expected: str, outcomes: dict[str, ppg.RecordedJobOutcome]) -> None:
    words = expected.split()
    failed = sorted(word[1:] for word in words if word.startswith("!"))
    assert world.take_ran() == sorted(word.lstrip("!") for word in words)
    told = world.outcomes(outcomes)
    if not world.aborting and not world.interrupting:
        assert told.get("Failed", []) == failed
        assert told.get("Success", []) == sorted(set(words) - {f"!{name}" for name in failed})
        assert failed or "UpstreamFailed" not in told
    if not (failed or world.aborting):
        world.check_files()


@pytest.mark.parametrize(("words", "line", "steps"), ROWS, ids=IDS)
def test_a_change_has_exactly_these_executed(
    words: str, line: str, steps: tuple[Step, ...]
) -> None:
    world = World("r", line)
    run(world)
    world.take_ran()
    world.check_files()
    for change, expected in steps:
        world.change(change)
        judge(world, expected, run(world))
    world.change("")
    judge(world, " ".join(world.always()), run(world))


def in_slots() -> list[tuple[World, tuple[Step, ...]]]:
    """What can be one graph: no row that ends the run, or that waits for all others."""
    found = []
    for number, (_, line, steps) in enumerate(ROWS):
        changes = " ".join(change for change, _ in steps)
        if "abort" not in changes and "interrupt" not in changes and "final" not in line:
            found.append((World(f"r{number}", line, ppg.Resources.SingleCore), steps))
    return found


@pytest.mark.timeout(120)
def test_all_of_them_in_slots_and_in_one_graph() -> None:
    rows = in_slots()
    worlds = [world for world, _ in rows]
    assert len(worlds) > 150
    run(*worlds)
    for world in worlds:
        world.take_ran()
        world.check_files()
    for number in range(max(len(steps) for _, steps in rows) + 1):
        for world, steps in rows:
            world.change(steps[number][0] if number < len(steps) else "")
        outcomes = run(*worlds)
        for world, steps in rows:
            ends = " ".join(world.always())
            judge(world, steps[number][1] if number < len(steps) else ends, outcomes)


def test_the_table_is_as_long_as_it_must_be() -> None:
    assert len(ROWS) >= 150
    assert len(set(IDS)) == len(IDS)
    kinds = set("file multi dict temp multitemp tempdict plus data attr entry".split())
    assert all(any(f"={kind}" in line for _, line, _ in ROWS) for kind in {*kinds, *ALWAYS})
