"""``python -m implicitkit`` is the ``implicitkit`` command."""

import sys


def run() -> None:
    """Run the command line; Ctrl-C ends it in a line also while it is being imported."""
    try:
        from implicitkit.cli.main import main
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    main()


if __name__ == "__main__":
    run()
