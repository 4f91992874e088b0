"""``python -m pipelines`` is ``pipe``."""

from pipelines.cli import main

if __name__ == "__main__":
    main()
