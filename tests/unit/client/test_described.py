"""A pipeline that was compiled can be read back from what the Router keeps."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from pypelinin.client.described import rebuilt
from pypelinin.graph.job import Job
from pypelinin.pipeline import Pipeline
from pypelinin.runtime.values import pack_value
from pypelinin.wire.codec import Blobs
from pypelinin.wire.definitions import PART_BYTES_MAX
from pypelinin.wire.messages import Definition, RunStatus


def there_and_back(pipeline: Pipeline) -> Pipeline:
    header, parts = pipeline.compile("r" * 32, "me", pack_value)
    blobs = Blobs([header, bytes(len(pipeline.jobs)), *(b for part in parts for b in part)])
    found = Definition(1, RunStatus("r" * 32, "running"), (), array("I"), blobs)
    return rebuilt("r" * 32, found)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)).filter(lambda e: e[0] < e[1])))
def test_jobs_edges_and_data_come_back(edges: list[tuple[int, int]]) -> None:
    jobs = [Job("W", name=f"job {i}", data={"i": i} if i % 2 else None) for i in range(9)]
    pairs = [(job, None) for job in jobs] + [(jobs[a], jobs[b]) for a, b in edges]
    pipeline = Pipeline(pairs, data={"all": [1, "two"]}, labels={"of": "me"})
    again = there_and_back(pipeline)
    assert again == pipeline
    assert again.labels == pipeline.labels
    assert {job.name: job.data for job in again.jobs} == {j.name: j.data for j in pipeline.jobs}


def test_options_of_jobs_come_back() -> None:
    job = Job("W", retries=3, priority=2, labels={"disk": "ssd"})
    (again,) = there_and_back(Pipeline({job: None})).jobs
    assert (again.retries, again.priority, again.labels) == (3, 2, {"disk": "ssd"})


def test_data_of_a_job_may_be_as_large_as_a_job_s_data_may_be() -> None:
    data = b"x" * (PART_BYTES_MAX - 100)
    (again,) = there_and_back(Pipeline({Job("W", data=data): None})).jobs
    assert again.data == data


def test_a_pickle_is_not_opened() -> None:
    assert there_and_back(Pipeline({Job("W"): None}, data={1, 2})).data is None
