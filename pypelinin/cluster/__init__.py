"""The cluster's machines: rules without sockets, clocks or processes.

Router, Pipeliner, Broker and client take events and return commands; `runtime.loop`
performs them in daemons, `pypelinin.testing.ClusterSim` in one thread.
"""
