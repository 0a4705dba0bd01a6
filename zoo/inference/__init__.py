"""Everything that uses a trained run or an exported file. Imports nothing from `zoo.training`."""
