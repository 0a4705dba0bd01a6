"""The processes that train together, as torchrun starts them, and their communication.

Does not import torch in a single process.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn, TypeVar

from zoo.errors import ConfigError, OtherProcessError
from zoo.utils.interrupts import HANGUP, SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor, nn
    from torch._C._distributed_c10d import Store

T = TypeVar("T")
# The variables that torchrun gives every process: https://docs.pytorch.org/docs/stable/elastic/run.html
_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# How long a process waits for another one that hangs; one that died is noticed at once. Long, because the main process
# may work alone for minutes (to download data, or decode many photos).
_TIMEOUT = timedelta(hours=1)
_FAILED = "zoo/failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessGroup:
    """This process among those that train together. Only the main process writes files and reports events.

    All processes must call the same methods in the same order. Values are exchanged through main memory (gloo), only
    gradients from GPU to GPU.

    Attributes:
        rank: Index of this process.
        count: Number of processes on all machines.
        local_rank: Index of this process on its machine, and of its GPU.
        local_count: Number of processes on this machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> ProcessGroup:
        """Returns the process group that torchrun's variables describe; `SINGLE_PROCESS` without them.

        Raises:
            ConfigError: A variable is missing or is not a number.
        """
        if "WORLD_SIZE" not in environment or "RANK" not in environment:
            return SINGLE_PROCESS
        try:
            rank, count, local_rank, local_count = (int(environment[name]) for name in _VARIABLES[:4])
        except (KeyError, ValueError) as error:
            raise ConfigError(
                f"The environment variables of torchrun are incomplete: {error}.",
                hint=f"Start the processes with torchrun, which sets {', '.join(_VARIABLES)}.",
            ) from None
        return cls(rank=rank, count=count, local_rank=local_rank, local_count=local_count)

    @property
    def is_single(self) -> bool:
        """Whether this is the only process."""
        return self.count == 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and reports events."""
        return self.rank == 0

    @contextmanager
    def session(self) -> Iterator[None]:
        """Connects the processes for a block; does nothing in a single process or inside another session.

        An error in one process ends all. The process that fails first raises its error as it is; the others, which
        lose contact or fail for the same reason, raise an `OtherProcessError`.
        """
        if self.is_single or _is_open():
            yield
            return
        import torch
        import torch.distributed as dist
        from torch.distributed.rendezvous import rendezvous

        if "TORCHELASTIC_RUN_ID" in os.environ:
            _end_with_parent()
        store, _, _ = next(rendezvous("env://", timeout=_TIMEOUT))
        dist.init_process_group(
            # Values on the CPU need gloo even where gradients use NCCL.
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo",
            store=store,
            rank=self.rank,
            world_size=self.count,
            timeout=_TIMEOUT,
        )
        with self._signal_handlers():
            try:
                yield
                self.barrier()  # until no process can fail any more
            except BaseException as error:
                # The group stays open: closing it would make the others fail before this error is reported.
                atexit.register(_close)
                if _is_first_failure(error, store):
                    raise
                raise OtherProcessError from error
        dist.destroy_process_group()

    @contextmanager
    def detect_lost_peers(self) -> Iterator[None]:
        """Turns the loss of contact to another process in a block into an `OtherProcessError`."""
        try:
            yield
        except RuntimeError as error:
            if self.is_single or not _is_lost(error):
                raise
            raise OtherProcessError from error

    @contextmanager
    def local_first(self) -> Iterator[None]:
        """Runs a block on each machine in one process first, then in the others, which find what it downloaded."""
        if self.local_rank:
            self.barrier()
        yield
        if not self.local_rank:
            self.barrier()

    def barrier(self) -> None:
        """Waits until all processes have called it."""
        self.all_reduce(0)

    def broadcast(self, make: Callable[[], T]) -> T:
        """Returns the result of `make` in the main process to all processes; the others do not call it."""
        if self.is_single:
            return make()
        import torch.distributed as dist

        values: list[T | None] = [make() if self.is_main else None]
        dist.broadcast_object_list(values, src=0)
        return values[0]  # type: ignore[return-value]

    def all_gather(self, value: T) -> list[T]:
        """Returns the values of all processes, in order of rank. Values are pickled: a tensor should be on the CPU."""
        if self.is_single:
            return [value]
        import torch.distributed as dist

        values: list[T | None] = [None] * self.count
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]

    def all_reduce(self, *numbers: float) -> list[float]:
        """Returns the sum of each number over all processes, in float64."""
        if self.is_single:
            return list(numbers)
        import torch
        import torch.distributed as dist

        sums = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(sums)
        return sums.tolist()

    def all_gather_rows(self, rows: Sequence[Tensor]) -> Tensor:
        """Returns the concatenation of the tensors ``(n, ...)`` of all processes, in order of rank.

        It is on the CPU if there are several processes. A process may have no tensors.
        """
        import torch

        if self.is_single:
            return torch.cat([*rows])
        mine = torch.cat([*rows]).detach().cpu() if rows else None
        return torch.cat([each for each in self.all_gather(mine) if each is not None])

    def sync_module(self, module: nn.Module, *, buffers_only: bool = False) -> None:
        """Copies the weights and buffers (or the buffers only) of the main process to all processes."""
        if self.is_single:
            return
        import torch

        tensors = [*(() if buffers_only else module.parameters()), *module.buffers()]
        values = self.broadcast(lambda: [tensor.detach().cpu() for tensor in tensors])
        if not self.is_main:
            with torch.no_grad():
                for tensor, value in zip(tensors, values, strict=True):
                    tensor.copy_(value)

    def ignore_signals(self) -> None:
        """Ignores signals from here on, so that none interrupts a process while it saves and ends."""
        if not self.is_single and _in_main_thread():
            for each in SIGNALS:
                signal.signal(each, signal.SIG_IGN)

    @contextmanager
    def _signal_handlers(self) -> Iterator[None]:
        """Lets the main process save and end at a signal of the user or the launcher; the others then end with it."""
        if not _in_main_thread():  # elsewhere Python allows no handlers
            yield
            return
        before = {}
        for each in SIGNALS:
            if each == HANGUP and signal.getsignal(each) == signal.SIG_IGN:  # as under nohup
                continue
            elsewhere = signal.SIG_IGN if each == signal.SIGINT else signal.SIG_DFL
            before[each] = signal.signal(each, signal.default_int_handler if self.is_main else elsewhere)
        yield  # nothing to restore after an error: the process ends
        for number, handler in before.items():
            signal.signal(number, handler)


SINGLE_PROCESS = ProcessGroup()


def _is_open() -> bool:
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


def end(status: int) -> NoReturn:
    """Ends this process after an error in `ProcessGroup.session`, without finalising Python.

    gloo's threads may outlive the group. If one of them frees a tensor while Python is being finalised, the process
    aborts (https://github.com/pytorch/pytorch/pull/179291).
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # its reader is gone
            stream.flush()
    os._exit(status)


def _close() -> None:
    """Closes an open group at exit, without waiting for the other processes."""
    import torch.distributed as dist

    if dist.group.WORLD is not None:
        dist.group.WORLD.abort()
        dist.destroy_process_group()


def _is_first_failure(error: BaseException, store: Store) -> bool:
    """Returns whether this process should report an error: whether it was the first to fail on its own."""
    if isinstance(error, KeyboardInterrupt):
        return True
    if isinstance(error, OtherProcessError) or (isinstance(error, RuntimeError) and _is_lost(error)):
        return False
    try:
        first: bool = store.add(_FAILED, 1) == 1
    except RuntimeError:  # the process or launcher that hosted the store has ended
        return False
    if first and isinstance(error, Exception):
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)  # for torchrun's report
    return first


def _is_lost(error: RuntimeError) -> bool:
    """Returns whether an error means that another process cannot be reached; gloo has no class for such errors."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or "/gloo/" in str(error)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _end_with_parent() -> None:
    """Ends this process when its launcher has ended in whatever way: nothing else would stop it."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, name="watch the launcher", daemon=True).start()
