"""One run of a layered graph, under either library; prints a line of JSON.

`python incremental_graph.py MODULE JOBS WAY [LEAF]`: WAY is `slots`, `forks` (a process each) or
`here` (in this process); LEAF is what the last job writes. Depends on nothing of ours, as it runs
in the other library's environment, too.
"""

import importlib
import json
import os
import resource
import sys
import time

LAYERS = 100
"""Of 1,000 the other library's engine refuses an unchanged run: it recurses."""


def main() -> None:
    begun = time.perf_counter()
    module, jobs, way, leaf = (*sys.argv[1:4], *sys.argv[4:5], "")[:4]
    ppg = importlib.import_module(module)
    imported = time.perf_counter()
    from pathlib import Path  # here, as loading it is part of what the libraries cost

    os.makedirs("out", exist_ok=True)
    ours = module.startswith("pypelinin")
    ppg.new(run_mode=ppg.RunMode.NONINTERACTIVE, cores=2)
    options = {"resources": ppg.Resources.RunsHere} if way == "here" else {}
    if way == "forks" and ours:
        options["isolate"] = True  # the other one always forks

    def write(path: Path) -> None:
        path.write_text(path.name)

    def write_leaf(path: Path, leaf: str = leaf) -> None:
        path.write_text(f"{path.name} {leaf}")

    width = max(int(jobs) // LAYERS, 1)
    made: list[object] = []
    for i in range(int(jobs)):
        function = write_leaf if i == int(jobs) - 1 else write
        job = ppg.FileGeneratingJob(f"out/{i}", function, **options)
        if i >= width:
            left = i - width - (1 if i % width else 0)
            job.depends_on(made[i - width])
            if left != i - width:
                job.depends_on(made[left])
        made.append(job)
    defined = time.perf_counter()
    ppg.run()
    ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({
        "import": imported - begun, "define": defined - imported, "run": ended - defined,
        "total": ended - begun, "peak_mib": peak,
    }))  # fmt: skip


main()
