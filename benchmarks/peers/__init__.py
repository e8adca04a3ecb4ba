"""Mainspring on Redis beside other queues: the same workloads in the same run on the same machine."""
