"""How fast pypelinin is, each figure beside concurrent.futures.ProcessPoolExecutor.

`python -m benchmarks --help`. Real daemons, a durable journal on a disk, jobs that do nothing:
what is measured is the way of a job, not the job.
"""
