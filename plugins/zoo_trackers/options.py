"""The options of the trackers."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.plugins.options import option

PROJECT = "finetune-zoo"


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonlOptions:
    """Options of ``jsonl``."""

    file: str = option("", help="The file; by default trackers/jsonl/events.jsonl in the run folder.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorboardOptions:
    """Options of ``tensorboard``."""

    folder: str = option("", help="A folder that gets one folder per run; by default in the run folder.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MlflowOptions:
    """Options of ``mlflow``."""

    uri: str = option("", help="Address of the server or store; by default MLFLOW_TRACKING_URI, or what MLflow takes.")
    experiment: str = option(PROJECT, help="Name of the experiment.")
    model: bool = option(True, help="Upload the weights of the finished run.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WandbOptions:
    """Options of ``wandb``."""

    project: str = option(PROJECT, help="Name of the project.")
    entity: str = option("", help="User or team; by default that of the account.")
    mode: str = option("", help="online, offline or disabled; by default WANDB_MODE, or online.")
    model: bool = option(False, help="Upload the weights of the finished run.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackioOptions:
    """Options of ``trackio``."""

    project: str = option(PROJECT, help="Name of the project.")
    space: str = option("", help="A Hugging Face Space, user/name; by default the project is on this machine.")
