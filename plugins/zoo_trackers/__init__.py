"""The built-in trackers. Their libraries are extras of finetune-zoo, and are imported only when a run starts."""

from __future__ import annotations

import zoo
from zoo.plugins.specs import TrackerSpec
from zoo_trackers.options import JsonlOptions, MlflowOptions, TensorboardOptions, TrackioOptions, WandbOptions


@zoo.hookimpl
def zoo_trackers() -> list[TrackerSpec]:
    """Returns the trackers."""
    return [
        TrackerSpec(
            name="jsonl",
            summary="Every event as a line of JSON in a file of the run folder.",
            options=JsonlOptions,
            start="zoo_trackers.jsonl:JsonlTracker",
        ),
        TrackerSpec(
            name="tensorboard",
            summary="Event files of TensorBoard in the run folder: tensorboard --logdir runs.",
            options=TensorboardOptions,
            start="zoo_trackers.tensorboard:TensorboardTracker",
            needs=("tensorboard",),
            install="finetune-zoo[tensorboard]",
        ),
        TrackerSpec(
            name="mlflow",
            summary="An MLflow server, or a local store; the runs of a comparison are nested.",
            options=MlflowOptions,
            start="zoo_trackers.mlflow:MlflowTracker",
            needs=("mlflow",),
            install="finetune-zoo[mlflow]",
        ),
        TrackerSpec(
            name="wandb",
            summary="Weights & Biases; the runs of a comparison are a group.",
            options=WandbOptions,
            start="zoo_trackers.wandb:WandbTracker",
            needs=("wandb",),
            install="finetune-zoo[wandb]",
        ),
        TrackerSpec(
            name="trackio",
            summary="trackio, a local dashboard or a Hugging Face Space; the runs of a comparison are a group.",
            options=TrackioOptions,
            start="zoo_trackers.trackio:TrackioTracker",
            needs=("trackio",),
            install="finetune-zoo[trackio]",
        ),
    ]
