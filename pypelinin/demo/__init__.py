"""`pypelinin demo`: real pages through a real cluster on this machine, in one command.

`pages` makes and serves the input, `workers` is the user code the slots run, `main` brings
both together on a local cluster, `report` says what came out.
"""
