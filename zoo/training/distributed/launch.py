"""Runs a command in several processes of this machine, with torchrun's agent, and returns its exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import uuid
from typing import TYPE_CHECKING

from zoo.errors import TrainingError
from zoo.utils.interrupts import HANGUP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

_OTHER_FAILED = 3  # exit code of a process that ended because another one failed
_NO_MESSAGE = "<NONE>"  # the agent's message for a process that left none
_SECONDS_TO_SAVE = "10"  # between the signal to end and the end by force
_ANY_PORT = "localhost:0"


def launch(arguments: Sequence[str], *, devices: int) -> int:
    """Runs ``zoo ARGUMENTS`` in several processes, which find each other by torchrun's variables.

    Their output is printed; that of torchrun's agent is not.

    Args:
        arguments: The arguments of the command.
        devices: Number of processes.

    Returns:
        The exit code of the process that failed first and reported why; 0 if none failed.

    Raises:
        TrainingError: A process was killed.
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
            rdzv_endpoint=_ANY_PORT,
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
    """Sets the environment variables of the processes that the user has not set."""
    import torch

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // devices)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", _SECONDS_TO_SAVE)
    if HANGUP is not None and signal.getsignal(HANGUP) == signal.SIG_IGN:  # as under nohup: the agent would handle it
        os.environ.setdefault("TORCHELASTIC_SIGNALS_TO_HANDLE", "SIGTERM,SIGINT,SIGQUIT")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else a connection that closes at the end is reported


def _exit_code(failures: Mapping[int, ProcessFailure]) -> int:
    """Returns the exit code of the process that reported why it failed; the others ended because of it.

    Raises:
        TrainingError: None reported it, and one was killed.
    """
    for failure in failures.values():
        if failure.error_file_data.get("message") != _NO_MESSAGE:
            return max(failure.exitcode, 1)  # negative if the agent killed it before it had ended
    for rank, failure in sorted(failures.items()):
        if failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM:  # the agent ends the others with it
            raise TrainingError(
                f"Process {rank} was killed by the signal {failure.signal_name()}.",
                hint="If memory ran out: lower --devices, --batch-size or --image-size.",
            )
    codes = [
        failure.exitcode for failure in failures.values() if failure.exitcode not in (_OTHER_FAILED, -signal.SIGTERM)
    ]
    return max(codes, default=1)
