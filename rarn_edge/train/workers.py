"""Several processes that train one model together (torchrun), or the one process that trains it alone.

    torchrun --nproc-per-node 2 -m rarn_edge train ...

Each batch of the recipe is dealt to the workers without overlap, their gradients are averaged, and the first worker alone
writes: the recipe stays the same whatever the number of workers.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rarn_edge.errors import InputError

T = TypeVar("T")
PATIENCE = timedelta(hours=12)  # the others wait while the first measures and writes, or asks the teachers


@dataclass(frozen=True)
class Workers:
    """This process among all that train: its number, how many there are, and the device it works on."""

    rank: int
    count: int
    device: torch.device

    @property
    def writes(self) -> bool:
        """Whether this process writes files and reports; exactly one does."""
        return self.rank == 0

    @property
    def device_name(self) -> str:
        """`cpu`, or the GPU's own name."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model whose backward pass averages the gradients of all workers; the model itself for one."""
        return model if self.count == 1 else DistributedDataParallel(model)

    def share(self, batches: NDArray[np.int64]) -> NDArray[np.int64]:
        """This worker's part of a batch [N], or of each of several [batches, N]; all parts have one size."""
        even = batches.shape[-1] // self.count * self.count
        return batches[..., :even][..., self.rank :: self.count]

    def check(self, batch: int) -> None:
        """Raises InputError when a batch cannot be dealt evenly."""
        if batch % self.count:
            raise InputError(f"a batch of {batch} cannot be dealt to {self.count} workers evenly; choose --batch")

    def sum(self, *values: float) -> list[float]:
        """Each value summed over all workers."""
        if self.count == 1:
            return list(values)
        total: Tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def in_turn(self, make: Callable[[], T]) -> T:
        """What `make` returns, in the first worker before the others, who may then read what it wrote.

        Raises:
            InputError: the first worker's; the others end with its exit code and without a word.
        """
        if self.count == 1:
            return make()
        made: list[T] = []
        failure: InputError | None = None
        if self.writes:
            try:
                made.append(make())
            except InputError as error:
                failure = error
        if self.sum(float(failure is not None))[0]:
            raise SystemExit(InputError.exit_code) if failure is None else failure
        return made[0] if made else make()

    def wait(self) -> None:
        """Until every worker is here."""
        if self.count > 1:
            dist.barrier()


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    """On the device, channels last: the layout in which CPUs and tensor cores convolve fastest."""
    return model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


ALONE = Workers(0, 1, torch.device("cpu"))


def workers_here() -> int:
    """How many workers torchrun started on this machine; 1 without it."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def one_worker() -> Workers:
    """This process alone, on a GPU where torch finds one.

    Raises:
        InputError: torchrun started several.
    """
    if workers_here() > 1:
        raise InputError("this is work for one process; start it without torchrun")
    return Workers(0, 1, torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu"))


@contextmanager
def join_workers() -> Iterator[Workers]:
    """The workers that torchrun started, or this process alone; on GPUs where torch finds them.

    Raises:
        InputError: more workers than GPUs on a machine that has some.
    """
    if not dist.is_torchelastic_launched():
        yield one_worker()
        return
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    dist.init_process_group("nccl" if gpus else "gloo", timeout=PATIENCE)
    try:
        local = dist.get_node_local_rank()
        if gpus and local >= gpus:
            raise InputError(
                f"worker {local} of this machine finds only {gpus} GPUs; start at most one worker for each"
            )
        if gpus:
            torch.cuda.set_device(local)
        device = torch.device("cuda", local) if gpus else torch.device("cpu")
        workers = Workers(dist.get_rank(), dist.get_world_size(), device)
        yield workers
        workers.wait()  # who leaves while another still talks to it may be aborted by gloo
    finally:
        dist.destroy_process_group()
