"""Decides where decoded photos are kept: on the device, in memory, in a file, or nowhere. One budget for all parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.data.loading.pixel_buffer import Shelf
from zoo.data.loading.pixel_file import open_pack, pack_path
from zoo.data.loading.store import PhotoStore
from zoo.errors import ConfigError, DataError
from zoo.utils.machine import available_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import torch

    from zoo.config import Cache
    from zoo.data.loading.prepare import Prepare
    from zoo.plugins.specs import Sample

# What a machine that does not tell its memory is taken to have.
_UNKNOWN_MEMORY = 4 << 30
# Of a GPU's free memory, the share that photos may take: the network's activations want the rest.
_DEVICE_SHARE = 1 / 3
# Of a file's pixels, at least so many bytes stay in memory before they are handed back (`zoo.data.loading.pixel_file.MappedPixels`).
_LEAST_WINDOW = 4 << 20


def default_budget() -> int:
    """Returns half of the memory that is to be had, in bytes, be it a machine's or a container's."""
    return (available_memory() or _UNKNOWN_MEMORY) // 2


def check_cache(mode: Cache, device: torch.device | None) -> None:
    """Checks that photos can be kept as asked.

    Raises:
        ConfigError: The mode is ``device``, and the device is none that could keep photos.
    """
    if mode == "device" and not _keeps_photos(device):
        raise ConfigError(
            f"finetune: option 'cache' is 'device', but {device} has no memory of its own for photos.",
            hint="Leave --cache to auto, or say memory.",
        )


class PhotoCache:
    """The photos of a job, each part of them decoded once.

    Of several processes on a machine the first decodes and writes a file, which all of them map: photos are not held
    once a process. Only ``memory`` and ``off`` leave each process to itself.

    Args:
        mode: ``auto``: on a GPU if it has room, else in memory, else in a file; what fits nowhere is decoded anew each
            time, which is what ``off`` does with all. The others say where, as far as there is room.
        budget: Bytes of memory that the photos of all parts may take; on a GPU as many of its own. Half of what is to
            be had by default.
        workers: Threads that decode.
        device: Where the network is, if it is a device that might keep photos.
        rank: Number of this process on its machine, from 0.
        ranks: How many processes there are on this machine.
        wait: Returns when every process has called it.

    Attributes:
        placements: By part, for the run record: ``tier``, ``photos``, ``kept``, ``bytes`` and ``reason``.

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
        rank: int = 0,
        ranks: int = 1,
        wait: Callable[[], None] = lambda: None,
    ) -> None:
        check_cache(mode, device)
        self.placements: dict[str, dict[str, Any]] = {}
        self._mode = mode
        self._budget = default_budget() if budget is None else budget
        self._workers = workers
        self._device = device
        self._rank = rank
        self._ranks = ranks
        self._wait = wait
        self._stores: dict[tuple[str, str], PhotoStore] = {}
        self._reserved: dict[str, int] = {}

    def load(
        self, part: str, samples: Sequence[Sample], prepare: Prepare, *, progress: Callable[[int, int], None]
    ) -> PhotoStore:
        """Returns the photos of a part: the same store again, if it was loaded before and not released.

        Args:
            part: What the samples are called.
            samples: Of the part.
            prepare: What is made of each photo.
            progress: Called with how many photos are done, and of how many.

        Raises:
            DataError: No photo is readable; or the mode is ``disk``, and no file can be written.
        """
        key = (part, repr(prepare))
        if key not in self._stores:
            store = PhotoStore(samples, prepare=prepare, workers=self._workers)
            path = pack_path(samples, prepare) if self._mode in ("auto", "device", "disk") else None
            reason = self._fill(store, path, progress)
            reason = self._move(store) or reason
            self._stores[key] = store
            self.placements[part] = {
                "tier": store.tier,
                "photos": len(store),
                "kept": store.kept,
                "bytes": store.nbytes,
                "reason": reason,
            }
        return self._stores[key]

    def room(self) -> int:
        """Returns how many bytes may still be taken where the network is."""
        return self._left_on_device() if _keeps_photos(self._device) else self._left()

    def reserve(self, part: str, size: int) -> None:
        """Counts bytes that are kept of a part beside its photos, where the network is, until the part is released."""
        self._reserved[part] = self._reserved.get(part, 0) + size

    def release(self, part: str) -> None:
        """Lets go of the photos of a part; their share of the budget is free again."""
        self._reserved.pop(part, None)
        for key in [key for key in self._stores if key[0] == part]:
            self._stores.pop(key).release()

    def _fill(self, store: PhotoStore, path: Path | None, progress: Callable[[int, int], None]) -> str:
        """Finds the photos in their file, or decodes them; returns why they are where they then are."""
        if path is None:
            return self._decode(store, None, self._left() // self._ranks, progress)
        if self._ranks == 1:
            return self._open(store, path) or self._decode(store, path, self._left(), progress)
        if self._rank == 0:
            reason = self._open(store, path) or self._decode(store, path, 0, progress)
        self._wait()
        if self._rank:
            reason = self._open(store, path, check=False) or self._decode(store, None, 0, progress)
        return reason

    def _open(self, store: PhotoStore, path: Path, *, check: bool = True) -> str:
        window = max(self._left() // self._ranks // 4, _LEAST_WINDOW)
        pack = open_pack(path, window=window, threads=self._workers, check=check)
        if pack is None:
            return ""
        store.adopt(pack)
        return f"found in {path}"

    def _decode(self, store: PhotoStore, path: Path | None, memory: int, progress: Callable[[int, int], None]) -> str:
        shelf = Shelf(memory=0 if self._mode in ("disk", "off") else memory, file=path, count=len(store))
        # While the others wait for the one that writes the file, it may use their processors.
        threads = self._workers * (self._ranks if path else 1)
        if written := store.fill(shelf, progress, threads=threads):
            if not self._open(store, written, check=False):
                raise DataError(f"{written} vanished at once.", hint="Does another program delete it?")
            return f"written to {written}"
        if shelf.trouble and self._mode == "disk":
            raise DataError(
                f"Decoded photos cannot be kept in {path}: {shelf.trouble}.",
                hint="Make room, let ZOO_HOME be a folder on another disk, or say --cache memory.",
            )
        if self._mode == "off":
            return "as --cache off says"
        may = f"decoded photos may take {memory / 1e9:.3g} GB of memory"
        return f"{may}; {shelf.trouble}" if shelf.trouble else may

    def _move(self, store: PhotoStore) -> str:
        """Moves photos that are all kept to the device, if they should be there and there is room."""
        if self._mode not in ("auto", "device") or not _keeps_photos(self._device) or store.kept < len(store):
            return ""
        room = self._left_on_device()
        if store.nbytes > room:
            return f"no more than {room / 1e9:.3g} GB may be taken on {self._device}" if self._mode == "device" else ""
        store.move_to(self._device)
        return f"they fit in the {room / 1e9:.3g} GB that they may take there"

    def _left(self) -> int:
        """Returns how many bytes of memory may still be taken."""
        taken = sum(store.nbytes for store in self._stores.values() if store.tier == "memory")
        reserved = 0 if _keeps_photos(self._device) else sum(self._reserved.values())
        return max(0, self._budget - taken - reserved)

    def _left_on_device(self) -> int:
        taken = sum(store.nbytes for store in self._stores.values() if store.on_device) + sum(self._reserved.values())
        return min(max(0, self._budget - taken), int(device_memory(self._device) * _DEVICE_SHARE))


def _keeps_photos(device: torch.device | None) -> bool:
    return device is not None and device.type == "cuda"


def device_memory(device: torch.device | None) -> int:
    """Returns how many bytes of a GPU's memory are free."""
    import torch

    return torch.cuda.mem_get_info(device)[0]
