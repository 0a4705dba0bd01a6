"""Makes ``python -m zoo`` the same as ``zoo``."""

from zoo.cli.main import run

if __name__ == "__main__":
    run()
