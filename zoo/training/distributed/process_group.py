"""Several processes that train together, as torchrun starts them: which one this is, and what passes between them.

Imports no torch until there is more than one.
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor, nn
    from torch._C._distributed_c10d import Store

T = TypeVar("T")
# The variables that torchrun gives every process: https://docs.pytorch.org/docs/stable/elastic/run.html
_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# How long a process waits for another at most. One that died is noticed at once; this is for one that hangs. The first
# may work alone for minutes (a download, many load_photos photos), so it is long.
_PATIENCE = timedelta(hours=1)
_FAILED = "zoo/failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessGroup:
    """This process among those that train together. All but `is_main` write nothing and tell nothing.

    Every method is called by all processes, in the same order. Values pass through main memory (gloo); only the
    gradients go from GPU to GPU.

    Attributes:
        rank: Number of this process, from 0.
        count: Of all processes, on all machines.
        local_rank: Number of this process on its machine, from 0; also that of its GPU.
        local_count: Of the processes on this machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> ProcessGroup:
        """Returns what torchrun says of this process; `SINGLE_PROCESS` where it was not started by torchrun.

        Raises:
            ConfigError: One of its variables is missing or is no number.
        """
        if "WORLD_SIZE" not in environment or "RANK" not in environment:
            return SINGLE_PROCESS
        try:
            rank, count, local_rank, local_count = (int(environment[name]) for name in _VARIABLES[:4])
        except (KeyError, ValueError) as error:
            raise ConfigError(
                f"The environment is that of one of several processes, but not whole: {error}.",
                hint=f"Start the processes with torchrun, which sets {', '.join(_VARIABLES)}.",
            ) from None
        return cls(rank=rank, count=count, local_rank=local_rank, local_count=local_count)

    @property
    def is_single(self) -> bool:
        """Whether there is no other process."""
        return self.count == 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes, and that is heard."""
        return self.rank == 0

    @contextmanager
    def session(self) -> Iterator[None]:
        """Opens the way to the other processes for the length of a block; nothing to do when alone or already open.

        A process that leaves the block by an error is the end of all. The error of the first that does so is raised as
        it is; in the others, which merely lose contact or fail for the same reason, it becomes an `OtherProcessError`.
        """
        if self.is_single or _is_open():
            yield
            return
        import torch
        import torch.distributed as dist
        from torch.distributed.rendezvous import rendezvous

        if "TORCHELASTIC_RUN_ID" in os.environ:
            _end_with_parent()
        store, _, _ = next(rendezvous("env://", timeout=_PATIENCE))
        dist.init_process_group(
            # Messages on the CPU go by gloo also where gradients go by NCCL.
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo",
            store=store,
            rank=self.rank,
            world_size=self.count,
            timeout=_PATIENCE,
        )
        with self._heeding_signals():
            try:
                yield
                self.barrier()  # until none can fail any more
            except BaseException as error:
                # The group stays open: closing it would let the others fail before this error is told.
                atexit.register(_close)
                if _is_told_here(error, store):
                    raise
                raise OtherProcessError from error
        dist.destroy_process_group()

    @contextmanager
    def detect_lost_peers(self) -> Iterator[None]:
        """Turns the loss of contact to another process, within a block, into an `OtherProcessError`."""
        try:
            yield
        except RuntimeError as error:
            if self.is_single or not _is_lost(error):
                raise
            raise OtherProcessError from error

    @contextmanager
    def local_first(self) -> Iterator[None]:
        """On each machine lets one process go first through a block, then the others: they find what it downloaded."""
        if self.local_rank:
            self.barrier()
        yield
        if not self.local_rank:
            self.barrier()

    def barrier(self) -> None:
        """Waits until every process has come here."""
        self.all_reduce(0)

    def broadcast(self, make: Callable[[], T]) -> T:
        """Returns what the first process makes, in every process; the others do not call `make`."""
        if self.is_single:
            return make()
        import torch.distributed as dist

        made: list[T | None] = [make() if self.is_main else None]
        dist.broadcast_object_list(made, src=0)
        return made[0]  # type: ignore[return-value]

    def all_gather(self, value: T) -> list[T]:
        """Returns the value of every process, in their order. It is pickled: a tensor should be on the CPU."""
        if self.is_single:
            return [value]
        import torch.distributed as dist

        values: list[T | None] = [None] * self.count
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]

    def all_reduce(self, *numbers: float) -> list[float]:
        """Returns each number summed over all processes, in float64."""
        if self.is_single:
            return list(numbers)
        import torch
        import torch.distributed as dist

        sums = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(sums)
        return sums.tolist()

    def all_gather_rows(self, rows: Sequence[Tensor]) -> Tensor:
        """Returns tensors ``(n, ...)``, those of all processes in their order, as one; on the CPU unless alone.

        A process may have none of them.
        """
        import torch

        if self.is_single:
            return torch.cat([*rows])
        mine = torch.cat([*rows]).detach().cpu() if rows else None
        return torch.cat([each for each in self.all_gather(mine) if each is not None])

    def sync_module(self, module: nn.Module, *, buffers_only: bool = False) -> None:
        """Gives every process the weights and buffers (or the buffers alone) that the first has."""
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
        """Ignores signals from here on: the last words of a process are not to be interrupted."""
        if not self.is_single and _in_main_thread():
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, signal.SIG_IGN)

    @contextmanager
    def _heeding_signals(self) -> Iterator[None]:
        """On Ctrl-C, or when the launcher ends everything, the first process has time to save; the others follow it."""
        if not _in_main_thread():  # where Python allows no handlers
            yield
            return
        before = {
            signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler if self.is_main else signal.SIG_IGN),
            signal.SIGTERM: signal.signal(
                signal.SIGTERM, signal.default_int_handler if self.is_main else signal.SIG_DFL
            ),
        }
        yield  # after an error the process ends: nothing to restore
        for number, handler in before.items():
            signal.signal(number, handler)


SINGLE_PROCESS = ProcessGroup()


def _is_open() -> bool:
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


def end(status: int) -> NoReturn:
    """Ends this process, which has left `ProcessGroup.together` by an error, without taking Python down around it.

    gloo's threads may outlive the group. One of them that lets go of a tensor while Python ends aborts the process
    (https://github.com/pytorch/pytorch/pull/179291).
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it has left
            stream.flush()
    os._exit(status)


def _close() -> None:
    """Closes a group that is still open, at exit and without waiting for the other processes."""
    import torch.distributed as dist

    if dist.group.WORLD is not None:
        dist.group.WORLD.abort()
        dist.destroy_process_group()


def _is_told_here(error: BaseException, store: Store) -> bool:
    """Returns whether this process is the one to tell of an error: the first that failed of itself."""
    if isinstance(error, KeyboardInterrupt):
        return True
    if isinstance(error, OtherProcessError) or (isinstance(error, RuntimeError) and _is_lost(error)):
        return False
    try:
        first: bool = store.add(_FAILED, 1) == 1
    except RuntimeError:  # the store is gone, and with it the process or the launcher that kept it
        return False
    if first and isinstance(error, Exception):
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)  # so that torchrun's report names it
    return first


def _is_lost(error: RuntimeError) -> bool:
    """Returns whether an error says that another process cannot be reached. gloo raises no class of its own."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or "/gloo/" in str(error)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _end_with_parent() -> None:
    """Ends this process when its launcher is gone, however that ended: nobody would stop this one any more."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, name="watch the launcher", daemon=True).start()
