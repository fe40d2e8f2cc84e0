"""Scripts are what a client could submit: the Router takes all of them."""

from __future__ import annotations

from random import Random

from pypelinin.cluster.runs import Runs
from pypelinin.cluster.state import State
from pypelinin.config import Limits
from pypelinin.testing.scripts import JOBS_MAX, RunScript, random_script, with_other_content
from pypelinin.wire.codec import Blobs
from pypelinin.wire.definitions import Place
from pypelinin.wire.messages import Added, AddPipeline


def scripts(count: int) -> list[RunScript]:
    random = Random(5)
    return [random_script(random, number, [{}, {"disk": "fast"}]) for number in range(count)]


def submit(state: State, script: RunScript, header: bytes | None = None) -> list[Added]:
    total = len(script.parts)
    blobs = Blobs(b for part in script.parts for b in (header or script.header, *part))
    message = AddPipeline(1, False, True, tuple(Place(i, total) for i in range(total)), blobs)
    results = []
    for added, rows in state.runs.judge_parts(message, 1.0, None):
        results.append(added)
        for row in rows:
            state.apply(row)
    return results


def test_every_script_is_a_run_the_router_takes() -> None:
    state = State(Limits())
    for script in scripts(100):
        assert [added.refusal for added in submit(state, script)] == [None] * len(script.parts)
        run = state.runs.get(script.id)
        assert run is not None
        assert len(run.states) == script.jobs
        for job in range(script.jobs):
            assert run.kind(job) == script.kinds[job]
            assert run.payload(job) == script.payloads[job]
    state.check()


def test_upstreams_come_before() -> None:
    for script in scripts(100):
        assert 1 <= script.jobs <= JOBS_MAX
        assert all(up < job for job, ups in enumerate(script.upstreams) for up in ups)


def test_there_are_scripts_of_every_sort() -> None:
    several = scripts(200)
    assert any(len(s.parts) > 1 for s in several)
    assert any(s.failing and max(s.failing) == 1.0 for s in several)
    assert any(kind.labels for s in several for kind in s.kinds)
    assert any(s.jobs > 3 and all(s.upstreams[1:]) for s in several)


def test_other_content_is_a_conflict() -> None:
    state: State = State(Limits())
    script = scripts(1)[0]
    submit(state, script)
    (added, *_) = submit(state, script, with_other_content(script))
    assert added.refusal is not None
    assert added.refusal.code == "conflict"
    assert isinstance(state.runs, Runs)
