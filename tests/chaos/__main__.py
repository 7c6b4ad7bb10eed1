"""Plays rounds and prints the result of each; exits with 1 if one of them found a problem."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos.jobs import all_jobs
from tests.chaos.rounds import Round, Torturer
from tests.chaos.world import world


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--seed", type=int, default=1, help="of the first round; the next has one more"
    )
    parser.add_argument("--seeds", type=int, nargs="*", help="of each round, instead of the two")
    kinds = sorted({job.kind for job in all_jobs()})
    parser.add_argument("--kind", choices=kinds, help="only jobs of this kind")
    flags = parser.parse_args()
    seeds = flags.seeds or range(flags.seed, flags.seed + flags.rounds)
    jobs = tuple(job for job in all_jobs() if flags.kind in (None, job.kind))
    failed = 0
    folder = tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True)
    with folder as name, world(Path(name)) as place:
        torturer = Torturer(place)
        for seed in seeds:
            failed += tell(torturer.play(seed, jobs), flags.kind)
    print(f"{len(seeds) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


def tell(round: Round, kind: str | None) -> bool:
    """Prints a round; True if it found a problem."""
    result = "FAILED" if round.problems else "passed"
    print(
        f"seed {round.seed}: {result} in {round.seconds:.0f} s: {round.job.name} on "
        f"{round.plan.storage}, exit codes {round.codes}; {'; '.join(round.faults) or 'no faults'}",
        flush=True,
    )
    if round.problems:
        for problem in round.problems:
            print(f"  {problem}")
        for life in round.plan.lives:
            print(f"  planned: {'; '.join(map(str, life))}")
        for number, log in enumerate(round.logs):
            print(f"  --- output {number}\n    " + "\n    ".join(log[-6000:].splitlines()))
        only = f" --kind {kind}" if kind else ""
        print(f"  again: python -m tests.chaos --seed {round.seed}{only}", flush=True)
    return bool(round.problems)


if __name__ == "__main__":
    main()
