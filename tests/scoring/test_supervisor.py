import pytest

from fmnist.errors import UserError
from fmnist.scoring.supervisor import Supervisor


def test_an_actor_that_never_finishes_ends_the_job() -> None:
    supervisor = Supervisor("scoring these images", "a run")
    for _ in range(5):
        supervisor.begin("one")
        supervisor.begin("another")
        supervisor.finish("another", 10)
    with pytest.raises(UserError, match="scoring these images: a process died 5 times"):
        supervisor.begin("one")
    supervisor.begin("another")
    assert supervisor.scored() == 50


def test_an_actor_may_die_often_as_long_as_it_finishes_blocks() -> None:
    supervisor = Supervisor("scoring these images", "a run")
    for _ in range(30):
        for _ in range(4):
            supervisor.begin("one")
        supervisor.finish("one", 1)
    assert supervisor.scored() == 30
