"""The settings of a run: `FinetuneConfig`, and the functions that make one."""

from zoo.config.finetune_config import AUTO, SPELLINGS, Cache, FinetuneConfig
from zoo.config.make import change_config, make_config, read_settings
from zoo.config.values import NAMES_OF, OPTIONS_OF, OWNER

__all__ = [
    "AUTO",
    "NAMES_OF",
    "OPTIONS_OF",
    "OWNER",
    "SPELLINGS",
    "Cache",
    "FinetuneConfig",
    "change_config",
    "make_config",
    "read_settings",
]
