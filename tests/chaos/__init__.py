"""Jobs under random faults: kill, stop, starve and start them twice, then look at what they left.

    python -m tests.chaos --rounds 60 --seed 1

`jobs` says what is run and what must come out, `faults` what happens to it, `world` where (a Ray
cluster, an S3 server behind a proxy, a small disk), `checks` what must hold afterwards, and
`rounds` plays one round. A round follows from its seed, but for the clock: the plan is the same,
what it hits may not be.
"""
