"""One of several processes that promote, roll back, train and prune at once.

python -m tests.recovery.support.contender URI NAME SEED STEPS NOW LOG

`NOW` is the time from which its prunes count ages.
"""

import json
import random
import sys
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from fmnist.errors import StorageError, UserError
from fmnist.registry.candidates import register_candidate
from fmnist.registry.champion import promote, read_champion, rollback
from fmnist.registry.prune import delete_marked_runs, mark_old_runs
from fmnist.registry.retention_settings import Retention
from fmnist.storage.open import Storage, open_storage
from tests.recovery.support.histories import Told
from tests.support.registries import publish_empty
from tests.support.samples import SHAPES

TASK = SHAPES.name
KEEP_CHAMPIONS = 2
RETENTION = Retention(keep_champions=KEEP_CHAMPIONS, keep_runs=2)
ACTIONS = {"promote": 6, "rollback": 2, "prune": 2, "train": 3}


@dataclass(frozen=True, kw_only=True)
class Contender:
    storage: Storage
    name: str
    now: datetime
    log: Path
    chance: random.Random

    def act(self, step: int) -> None:
        (action,) = self.chance.choices(list(ACTIONS), list(ACTIONS.values()))
        champion = read_champion(self.storage, TASK)
        seen = champion.counter if champion else 0
        told = Told(who=self.name, command=f"{self.name}-{step}", action=action, seen=seen)
        self.note(told)
        try:
            self.note(getattr(self, action)(told))
        except StorageError:
            return  # the result is not known
        except UserError:  # no predecessor, overtaken, being pruned, pruned
            self.note(replace(told, moved=False, now=self.counter()))

    def promote(self, told: Told) -> Told:
        """Promotes a random candidate against the current state."""
        keys = self.storage.keys(f"registry/{TASK}/candidates")
        run = self.chance.choice(keys).rpartition("/")[2].removesuffix(".json")
        champion = read_champion(self.storage, TASK)
        moved = promote(self.storage, TASK, run, expected=champion, command=told.command)
        now = moved.counter if moved else self.counter()
        return replace(told, moved=moved is not None, run=run, now=now)

    def rollback(self, told: Told) -> Told:
        moved = rollback(self.storage, TASK, command=told.command)
        return replace(told, moved=True, run=moved.run, now=moved.counter)

    def prune(self, told: Told) -> Told:
        pruned = mark_old_runs(self.storage, TASK, RETENTION, now=self.now)
        delete_marked_runs(self.storage, TASK, pruned)
        return replace(told, moved=False, pruned=pruned, now=self.counter())

    def train(self, told: Told) -> Told:
        """Publishes a new candidate, too young to be pruned in this round."""
        register_candidate(self.storage, TASK, told.command)
        publish_empty(self.storage, told.command)
        return replace(told, moved=False, now=self.counter())

    def counter(self) -> int:
        champion = read_champion(self.storage, TASK)
        return champion.counter if champion else 0

    def note(self, told: Told) -> None:
        with self.log.open("a") as file:
            file.write(json.dumps(asdict(told)) + "\n")


def main() -> None:
    uri, name, seed, steps, now, log = sys.argv[1:]
    contender = Contender(
        storage=open_storage(uri),
        name=name,
        now=datetime.fromisoformat(now),
        log=Path(log),
        chance=random.Random(int(seed)),
    )
    for step in range(int(steps)):
        contender.act(step)


if __name__ == "__main__":
    main()
