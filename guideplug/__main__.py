"""``python -m guideplug``: the command line."""

from guideplug.cli import main

if __name__ == "__main__":
    main(prog_name="guideplug")
