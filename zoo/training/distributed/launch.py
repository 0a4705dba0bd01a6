"""Starts a command in several processes of this machine, with torchrun's agent, and ends with the exit code of one."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import uuid
from typing import TYPE_CHECKING

from zoo.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

_ELSEWHERE = 3  # exit code of a process that ended because another one failed
_NOT_TOLD = "<NONE>"  # what the agent has for a message where a process left none
_TIME_TO_SAVE = "10"  # seconds from the wish that a process should end to its end
_SOME_PORT = "localhost:0"


def launch(arguments: Sequence[str], *, devices: int) -> int:
    """Runs ``zoo ARGUMENTS`` in several processes, each of which knows of the others by torchrun's variables.

    What they print is printed; of what torchrun's agent would print about them nothing is.

    Args:
        arguments: What stands behind ``zoo``.
        devices: How many processes.

    Returns:
        The exit code: that of the process that failed and said why.

    Raises:
        TrainingError: A process was killed and could not say why.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _prepare_environment(devices)
    for name in [*logging.root.manager.loggerDict]:
        if name.startswith("torch.distributed.elastic"):  # each has a level of its own
            logging.getLogger(name).setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="zoo-") as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=devices,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint=_SOME_PORT,
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "zoo", *arguments)
        except ChildFailedError as error:
            return _exit_code(error.failures)
        except SignalException as error:
            return 128 + error.sigval
    return 0


def _prepare_environment(devices: int) -> None:
    """Sets what the processes inherit, unless the user has."""
    import torch

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // devices)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", _TIME_TO_SAVE)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a connection that closes at the end is no news


def _exit_code(failures: Mapping[int, ProcessFailure]) -> int:
    """Returns the exit code of the process that has told why it failed; the others followed it.

    Raises:
        TrainingError: None has.
    """
    for failure in failures.values():
        if failure.error_file_data.get("message") != _NOT_TOLD:
            return max(failure.exitcode, 1)  # the agent may have ended it while it was ending
    for rank, failure in sorted(failures.items()):
        if failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM:  # with which the agent ends the others
            raise TrainingError(
                f"Process {rank} was killed by the signal {failure.signal_name()}.",
                hint="If memory ran out: lower --devices, --batch-size or --image-size.",
            )
    codes = [failure.exitcode for failure in failures.values() if failure.exitcode not in (_ELSEWHERE, -signal.SIGTERM)]
    return max(codes, default=1)
