"""Resources that runs and scoring jobs ask Ray for: CPUs, GPUs, numbers of workers and actors."""

import logging

from fmnist.cluster.capacity import current_capacity, max_capacity
from fmnist.errors import UserError
from fmnist.run_settings import Cluster, Training, least_and_most

log = logging.getLogger(__name__)


def worker_resources(cluster: Cluster) -> dict[str, float]:
    """Resources of each training worker, as Ray Train takes them; a GPU only if configured."""
    assert cluster.cpus_per_worker, "`choose_cpus_per_worker` is called before"
    resources: dict[str, float] = {"CPU": cluster.cpus_per_worker}
    if cluster.gpu:
        resources["GPU"] = cluster.gpus_per_worker
    return resources


def choose_cpus_per_worker(least: int, most: int, cluster: Cluster) -> int:
    """Returns the CPUs of each worker, so that as many as possible of `least` to `most` fit.

    Raises UserError at once if the cluster can never hold `least` workers. Logs a warning if it
    must grow before it can.
    """
    limit, gpus = max_capacity(), _gpus_per_worker(cluster)
    given = cluster.cpus_per_worker
    choices = [given] if given else range(limit.most_cpus(gpus), 0, -1)
    for workers in range(most, least - 1, -1):
        for cpus in choices:
            if limit.max_processes(cpus, gpus) >= workers:
                now = current_capacity().max_processes(cpus, gpus)
                if now < least:
                    _warn_of_waiting(now, f"{least} workers")
                return cpus
    cpus = given or 1
    each = f"{cpus} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
    found = limit.max_processes(cpus, gpus)
    raise UserError(f"found room for {found} workers of {each} each, expected {least}: {limit}")


def max_workers(cpus: int, cluster: Cluster) -> int:
    """Number of workers with that many CPUs, and GPUs as configured, that the cluster can hold."""
    return max_capacity().max_processes(cpus, _gpus_per_worker(cluster))


def num_workers(training: Training, cluster: Cluster) -> int | tuple[int, int]:
    """Returns Ray Train's `num_workers`: a number, or the least and the most of them.

    Where the autoscaler can't start enough nodes for the most, it starts none at all. So the most
    is never above what the cluster can hold.
    """
    if isinstance(training.workers, int):
        return training.workers
    least, most = least_and_most("workers", training.workers)
    limit = max_capacity()
    if limit.node_types:
        held = limit.max_processes(cluster.cpus_per_worker or 1, _gpus_per_worker(cluster))
        most = max(least, min(most, held))
    return least, most


def scoring_pool_size(
    asked: int | str | None, *, cpus: int = 1, gpu: bool = False
) -> tuple[int, int]:
    """Returns the number of scoring actors, of so many CPUs each: at the start, and at most.

    With `gpu`, each has one GPU, too. `asked` is a number, or a range such as 2:16; without it the
    pool may grow with the cluster. Raises UserError if the cluster can never hold an actor, or not
    as many as asked, be it the least of a range.
    """
    if cpus < 1:
        raise UserError(f"cpus per actor is {cpus}, expected at least 1")
    limit = max_capacity()
    room = limit.max_processes(cpus, int(gpu))
    each = ("1 CPU" if cpus == 1 else f"{cpus} CPUs") + " and 1 GPU" * gpu
    if not room:
        raise UserError(f"found no room for a scoring actor of {each}: {limit}")
    now = current_capacity().max_processes(cpus, int(gpu))
    least, most = (max(1, min(now, room)), room)
    if asked is not None:
        least, most = least_and_most("actors", asked)
    if least > room or (most > room and ":" not in str(asked)):
        raise UserError(
            f"found {least} scoring actors of {each} each, expected 1 to {room}: {limit}"
        )
    most = min(most, room)
    if now < least:
        _warn_of_waiting(now, f"{least} scoring actors")
    return least, most


def check_cpu_for_reading() -> None:
    """Raises UserError if the cluster can never have a CPU for a task that reads images.

    Logs a warning if it must grow before it has one.
    """
    limit = max_capacity()
    if not limit.max_processes(1, 0):
        raise UserError(f"found no CPU for reading the images, expected at least 1: {limit}")
    if not current_capacity().max_processes(1, 0):
        _warn_of_waiting(0, "1 task that reads the images")


def _warn_of_waiting(now: int, wanted: str) -> None:
    log.warning(f"found room for {now} of {wanted}; waiting for the cluster to grow")


def _gpus_per_worker(cluster: Cluster) -> float:
    return cluster.gpus_per_worker if cluster.gpu else 0
