"""Send one pipeline for each URL to the cluster, wait, and say where the results are.

python send_pipelines.py                            five pages made and served right here
python send_pipelines.py https://www.python.org/    pages of your choice
"""

import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from my_router import RESULTS

from pypelinin import Job, Pipeline, PipelineManager
from pypelinin.demo.pages import generate, served


def pages_of_our_own(stack: ExitStack) -> list[str]:
    """The addresses of five pages of Python's documentation, served until *stack* is closed."""
    directory = Path(stack.enter_context(TemporaryDirectory()))
    names = generate(directory, limit=5)
    base = stack.enter_context(served(directory))
    return [f"{base}{name}.html" for name in names]


def make_pipeline(number: int, url: str) -> Pipeline:
    return Pipeline(
        {Job("Downloader"): (Job("GetTextAndWords"), Job("GetLinks"))},
        data={"id": str(number), "url": url},
    )


def result_file(pipeline: Pipeline) -> Path:
    return RESULTS / f"{pipeline.data['id']}.data"


def main() -> int:
    with ExitStack() as stack:
        urls = sys.argv[1:] or pages_of_our_own(stack)
        manager = stack.enter_context(
            PipelineManager(api="tcp://127.0.0.1:5555", broadcast="tcp://127.0.0.1:5556")
        )
        pipelines = [make_pipeline(number, url) for number, url in enumerate(urls)]
        for pipeline in pipelines:
            result_file(pipeline).unlink(missing_ok=True)  # of the last time
        manager.start_all(pipelines)
        manager.wait(pipelines, timeout=300, progress=True, raise_on_failure=False)
    for pipeline in pipelines:
        if pipeline.state == "done":
            print(f"{pipeline.data['url']}: {result_file(pipeline)} ({pipeline.duration:.2f} s)")
        else:
            why = f", {pipeline.error.type}: {pipeline.error.text}" if pipeline.error else ""
            print(f"{pipeline.data['url']}: {pipeline.state}{why}")
    print(f"results in {RESULTS}")
    return 0 if all(pipeline.state == "done" for pipeline in pipelines) else 1


if __name__ == "__main__":
    sys.exit(main())
