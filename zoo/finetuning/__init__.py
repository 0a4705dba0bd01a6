"""From a configuration to a run folder; `zoo.finetuning.finetune` tells the story."""
