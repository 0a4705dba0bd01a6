"""Makes ``python -m zoo`` the same as ``zoo``."""

from zoo.cli.main import main

if __name__ == "__main__":
    main()
