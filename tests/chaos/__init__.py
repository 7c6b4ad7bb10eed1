"""Runs jobs under random faults, and checks that they end with the right results.

    python -m tests.chaos --rounds 60 --seed 1

`jobs` has the jobs and their expected results, `faults` the faults, `world` the place (a Ray
cluster, an S3 server behind a proxy, a small disk), `checks` the conditions that must hold
afterwards, and `rounds` plays one round. The same seed gives the same plan of faults; since timing
differs, they may hit the job at another point.
"""
