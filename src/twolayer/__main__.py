"""``python -m twolayer``: the command, where it is not on the path."""

from twolayer.cli import main

if __name__ == "__main__":  # a process of a pool imports this file too
    main()
