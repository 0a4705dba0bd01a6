"""Decides where decoded photos are cached: on the device, in memory, in a file, or nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.data.loading.pixel_buffer import PixelBuffer
from zoo.data.loading.pixel_file import open_pixel_file, pixel_file_path
from zoo.data.loading.store import PhotoStore
from zoo.errors import ConfigError, DataError
from zoo.utils.machine import available_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import torch

    from zoo.config import Cache
    from zoo.data.loading.transform import Transform
    from zoo.plugins.specs import Sample

# Assumed where the memory of the machine is unknown.
_UNKNOWN_MEMORY = 4 << 30
# The share of a GPU's free memory that photos may use: the network's activations need the rest.
_DEVICE_SHARE = 1 / 3
# The smallest window of `zoo.data.loading.pixel_file.MappedPixels`, in bytes.
_MIN_WINDOW = 4 << 20


def default_budget() -> int:
    """Returns half of the available memory, in bytes: of the machine or of the container."""
    return (available_memory() or _UNKNOWN_MEMORY) // 2


def check_cache(mode: Cache, device: torch.device | None) -> None:
    """Checks that a device supports the cache mode.

    Raises:
        ConfigError: The mode is ``device``, and the device has no memory of its own for photos.
    """
    if mode == "device" and not _can_cache(device):
        raise ConfigError(
            f"finetune: option 'cache' is 'device', but {device} has no memory of its own for photos.",
            hint="Use --cache auto or --cache memory.",
        )


class PhotoCache:
    """The photos of a job; each split is decoded once for each way of preparing it.

    Of several processes on a machine, the first decodes and writes a file that all of them map, instead of one copy per
    process. Only with ``memory`` and ``off`` does each process decode for itself.

    Args:
        mode: ``auto``: on a GPU with enough room, else in memory, else in a file; photos that fit nowhere are decoded
            on every access. ``off`` decodes all photos on every access. The other modes name a place, which is used as
            far as there is room.
        budget: Bytes of memory for the photos of all splits, and as many on a GPU; by default half of the available
            memory.
        workers: Number of decoding threads.
        device: Where the network is, if that device may cache photos.
        local_rank: Number of this process on its machine, from 0.
        local_world_size: Number of processes on this machine.
        barrier: Returns when every process has called it.
        multi_hot: The number of classes of multi-label data, whose labels become multi-hot; None if each photo has
            one label.

    Attributes:
        placements: By split, for the run record: ``tier``, ``photos``, ``kept`` (the number of cached photos),
            ``bytes`` and ``reason``.

    Raises:
        ConfigError: As `check_cache`.
    """

    def __init__(
        self,
        *,
        mode: Cache = "auto",
        budget: int | None = None,
        workers: int,
        device: torch.device | None = None,
        local_rank: int = 0,
        local_world_size: int = 1,
        barrier: Callable[[], None] = lambda: None,
        multi_hot: int | None = None,
    ) -> None:
        check_cache(mode, device)
        self.placements: dict[str, dict[str, Any]] = {}
        self._mode = mode
        self._budget = default_budget() if budget is None else budget
        self._workers = workers
        self._device = device
        self._local_rank = local_rank
        self._local_world_size = local_world_size
        self._barrier = barrier
        self._multi_hot = multi_hot
        self._stores: dict[tuple[str, str], PhotoStore] = {}
        self._reserved: dict[str, int] = {}

    def load(
        self, split: str, samples: Sequence[Sample], transform: Transform, *, progress: Callable[[int, int], None]
    ) -> PhotoStore:
        """Returns the photos of a split; the same store again if it was loaded before and not released.

        Args:
            split: Name of the split.
            samples: Its samples.
            transform: Applied to each decoded photo.
            progress: Called with the number of photos done, and of all.

        Raises:
            DataError: No photo is readable; or the mode is ``disk`` and no file can be written.
        """
        key = (split, transform.key)
        if key not in self._stores:
            store = PhotoStore(samples, transform=transform, workers=self._workers, multi_hot=self._multi_hot)
            path = pixel_file_path(samples, transform) if self._mode in ("auto", "device", "disk") else None
            reason = self._fill(store, path, progress)
            reason = self._move(store) or reason
            if all(loaded != split for loaded, _ in self._stores):  # else prepared in another way as well
                placement = {"tier": store.tier, "photos": len(store), "kept": store.cached, "bytes": store.nbytes}
                self.placements[split] = {**placement, "reason": reason}
            self._stores[key] = store
        return self._stores[key]

    def available_bytes(self) -> int:
        """Returns how many bytes are left where the network is."""
        return self._left_on_device() if _can_cache(self._device) else self._left()

    def reserve(self, split: str, size: int) -> None:
        """Reserves bytes where the network is, for other values of a split, until the split is released."""
        self._reserved[split] = self._reserved.get(split, 0) + size

    def release(self, split: str, transform: Transform | None = None) -> None:
        """Releases the photos of a split; their share of the budget is free again.

        Args:
            split: Name of the split.
            transform: Release only the photos that were transformed by it; None for all, and the reservations.
        """
        if transform is None:
            self._reserved.pop(split, None)
        for key in [key for key in self._stores if key[0] == split and (transform is None or key[1] == transform.key)]:
            self._stores.pop(key).release()

    def _fill(self, store: PhotoStore, path: Path | None, progress: Callable[[int, int], None]) -> str:
        """Finds the photos in their file, or decodes them; returns the reason for their placement."""
        if path is None:
            return self._decode(store, None, self._left() // self._local_world_size, progress)
        if self._local_world_size == 1:
            return self._open(store, path) or self._decode(store, path, self._left(), progress)
        if self._local_rank == 0:
            reason = self._open(store, path) or self._decode(store, path, 0, progress)
        self._barrier()
        if self._local_rank:
            reason = self._open(store, path, check=False) or self._decode(store, None, 0, progress)
        return reason

    def _open(self, store: PhotoStore, path: Path, *, check: bool = True) -> str:
        window = max(self._left() // self._local_world_size // 4, _MIN_WINDOW)
        file = open_pixel_file(path, window=window, threads=self._workers, check=check)
        if file is None:
            return ""
        store.adopt(file)
        return f"found in {path}"

    def _decode(self, store: PhotoStore, path: Path | None, memory: int, progress: Callable[[int, int], None]) -> str:
        in_memory = 0 if self._mode in ("disk", "off") else memory
        buffer = PixelBuffer(memory=in_memory, file=path, count=len(store))
        # The other processes wait for the one that writes the file, so it may use their processors.
        threads = self._workers * (self._local_world_size if path else 1)
        if written := store.fill(buffer, progress, threads=threads):
            if not self._open(store, written, check=False):
                raise DataError(
                    f"{written} was deleted right after it was written.", hint="Does another program delete it?"
                )
            return f"written to {written}"
        if buffer.error and self._mode == "disk":
            raise DataError(
                f"Decoded photos cannot be cached in {path}: {buffer.error}.",
                hint="Free disk space, set ZOO_HOME to a folder on another disk, or use --cache memory.",
            )
        if self._mode == "off":
            return "--cache off"
        limit = f"decoded photos may use {memory / 1e9:.3g} GB of memory"
        return f"{limit}; {buffer.error}" if buffer.error else limit

    def _move(self, store: PhotoStore) -> str:
        """Moves a fully cached store to the device if the mode allows it and there is room; returns the reason."""
        if self._mode not in ("auto", "device") or not _can_cache(self._device) or store.cached < len(store):
            return ""
        room = self._left_on_device()
        if store.nbytes > room:
            return f"only {room / 1e9:.3g} GB may be used on {self._device}" if self._mode == "device" else ""
        store.move_to(self._device)
        return f"they fit in the {room / 1e9:.3g} GB that may be used there"

    def _left(self) -> int:
        """Returns how many bytes of memory are left."""
        used = sum(store.nbytes for store in self._stores.values() if store.tier == "memory")
        reserved = 0 if _can_cache(self._device) else sum(self._reserved.values())
        return max(0, self._budget - used - reserved)

    def _left_on_device(self) -> int:
        used = sum(store.nbytes for store in self._stores.values() if store.on_device) + sum(self._reserved.values())
        return min(max(0, self._budget - used), int(device_memory(self._device) * _DEVICE_SHARE))


def _can_cache(device: torch.device | None) -> bool:
    return device is not None and device.type == "cuda"


def device_memory(device: torch.device | None) -> int:
    """Returns the free memory of a GPU, in bytes."""
    import torch

    return torch.cuda.mem_get_info(device)[0]
