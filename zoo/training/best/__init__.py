"""Searches for the best model within a given time: probes of many backbones, fine-tuning of the best of them."""
