"""The main function of a training worker: start or resume, train, publish.

Only workers import this module and its neighbours, since they import TensorFlow.
"""

import logging
from functools import partial
from typing import Any

import ray
import ray.train
import tensorflow as tf

from fmnist.errors import UserError
from fmnist.training.monitor import MonitorLogHandler
from fmnist.training.spec import RunContext, RunResult, RunSpec
from fmnist.training.worker.callback import Diverged, Preempted, StoppedEarly, TrainingCallback
from fmnist.training.worker.input_data import ValidationData, training_data, validation_data
from fmnist.training.worker.matrix_peak import images_at_peak
from fmnist.training.worker.publish import publish_run
from fmnist.training.worker.session import Session, StartupTimer, start_session


def run_worker(spec: RunSpec, context: RunContext, begin: float) -> RunResult:
    """Does all that this rank has to do; `begin` is when it began, by `time.perf_counter`."""
    startup = StartupTimer(begin)
    startup.phase_done("importing TensorFlow")
    if ray.train.get_context().get_world_rank() == 0:
        logging.getLogger("fmnist").addHandler(MonitorLogHandler(context.monitor))
        context.monitor.set_stage.remote("building the network and tracing its first step")
    try:
        session = start_session(spec, context, startup)
        if session.rank == 0:
            speed = images_at_peak(session.model, session.state.precision, session.world)
            context.monitor.set_peak.remote(speed)
        # Both are kept until the worker ends; `distributed.endless_dataset` says why.
        training, validation = training_data(session), validation_data(session)
        _train(session, training, validation)
        if session.rank == 0:
            context.monitor.set_stage.remote("evaluating and publishing the run")
        publish_run(session)
    except Diverged as error:
        return RunResult(error=str(error))
    except StoppedEarly:
        return RunResult()
    except Preempted:
        return RunResult(preempted=True)
    except UserError as error:
        ray.get(context.monitor.report_error.remote(str(error)))
        raise  # so that Ray Train tries again: the storage may work by then
    return RunResult()


def _train(session: Session, training: Any, validation: ValidationData | None) -> None:
    """Fits the rest of an epoch that was interrupted, then whole epochs up to the last one."""
    spec, state = session.spec, session.state
    fit = partial(
        _fit,
        session,
        training,
        callbacks=[TrainingCallback(session)],
        shuffle=False,  # the batches come in the epoch's order
        verbose=0,
        validation_data=validation and validation.data,
        validation_steps=validation and validation.steps,
    )
    if state.step:
        fit(
            initial_epoch=state.epoch,
            epochs=state.epoch + 1,
            steps_per_epoch=spec.steps_per_epoch - state.step,
        )
    fit(
        initial_epoch=session.state.epoch,
        epochs=spec.training.epochs,
        steps_per_epoch=spec.steps_per_epoch,
    )


def _fit(session: Session, *arguments: Any, **settings: Any) -> None:
    """Calls Keras' `fit`; raises the UserError of its input as such."""
    try:
        session.model.fit(*arguments, **settings)
    except tf.errors.OpError:
        if session.input_error:
            raise session.input_error from None
        raise
