"""The shared fine-tune engine: plain torch, read from top to bottom in `zoo.engine.fit`."""
