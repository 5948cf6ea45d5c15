"""Pictures that are decoded when they are asked for, in threads ahead of whoever takes them: data larger than memory."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import overload

import numpy as np
from numpy.typing import NDArray

from rarn_edge.contract.preprocess import decode, fit
from rarn_edge.contract.spec import Preprocess
from rarn_edge.host.threads import default_threads

MEMORY_BYTES = 256 * 2**20  # of decoded pictures that are kept in memory: all of FER-2013 is 83 MB
CHUNK_PIXELS = 64 * 48 * 48  # one task of a decoding thread
AHEAD_BYTES = 32 * 2**20  # of decoded pictures that wait for whoever takes them

Reader = Callable[[str], bytes]
"""The bytes of an image file by its name in the data set; called from several threads."""


@dataclass(frozen=True, eq=False)
class Streamed:
    """Stands for an array [N, *picture_shape] uint8 whose rows are decoded anew each time they are asked for."""

    names: tuple[str, ...]
    reader: Reader = field(repr=False)
    source: str
    preprocess: Preprocess

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.names), *self.preprocess.picture_shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, key: int) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, key: slice | NDArray[np.intp]) -> NDArray[np.uint8]: ...
    def __getitem__(self, key: int | slice | NDArray[np.intp]) -> NDArray[np.uint8]:
        """Some rows, decoded: one picture, or [n, *picture_shape]."""
        if isinstance(key, int | np.integer):
            return self._decoded([self.names[key]]).reshape(self.shape[1:])
        names = self.names[key] if isinstance(key, slice) else [self.names[index] for index in key]
        return np.concatenate([np.empty((0, *self.shape[1:]), dtype=np.uint8), *self._chunks(names)])

    def batches(self, size: int) -> Iterator[NDArray[np.uint8]]:
        """[size, *picture_shape] one after the other, the next ones being decoded meanwhile."""
        parts: list[NDArray[np.uint8]] = []
        waiting = 0
        for chunk in self._chunks(self.names):
            parts.append(chunk)
            waiting += len(chunk)
            while waiting >= size:
                whole = np.concatenate(parts)
                yield whole[:size]
                parts, waiting = [whole[size:]], waiting - size
        if waiting:
            yield np.concatenate(parts)

    def _chunks(self, names: Sequence[str]) -> Iterator[NDArray[np.uint8]]:
        count = max(1, CHUNK_PIXELS // (self.preprocess.height_px * self.preprocess.width_px))
        places = max(2 * default_threads(), AHEAD_BYTES // (count * math.prod(self.shape[1:])))
        pending: deque[Future[NDArray[np.uint8]]] = deque()
        with ThreadPoolExecutor(default_threads(), thread_name_prefix="rarn-edge-decode") as pool:
            try:
                for start in range(0, len(names), count):
                    pending.append(pool.submit(self._decoded, names[start : start + count]))
                    if len(pending) > places:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:  # whoever took them went away, or one failed
                    future.cancel()

    def _decoded(self, names: Sequence[str]) -> NDArray[np.uint8]:
        """[n, *picture_shape]."""
        found = np.empty((len(names), *self.shape[1:]), dtype=np.uint8)
        for index, name in enumerate(names):
            found[index] = fit(decode(self.reader(name), f"{self.source}: {name}"), self.preprocess)
        return found


Images = NDArray[np.uint8] | Streamed
"""Pictures [N, H, W] or [N, H, W, 3] uint8, in memory or decoded when asked for."""


def batches(images: Images, size: int) -> Iterator[NDArray[np.uint8]]:
    """[size, ...] one after the other; the last may be smaller."""
    if isinstance(images, Streamed):
        yield from images.batches(size)
    else:
        for start in range(0, len(images), size):
            yield images[start : start + size]


def batch_for(preprocess: Preprocess, largest: int, pixels: int) -> int:
    """A batch size of at most `largest` pictures and about `pixels` pixels: activations grow with the pictures' size."""
    return max(1, min(largest, pixels // (preprocess.height_px * preprocess.width_px)))
