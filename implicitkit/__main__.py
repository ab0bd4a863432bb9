"""``python -m implicitkit`` is the ``implicitkit`` command."""

from implicitkit.cli.main import main

if __name__ == "__main__":
    main()
