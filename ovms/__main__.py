"""``python -m ovms`` is the same as the ``ovms`` command."""

from ovms.cli import run

if __name__ == "__main__":
    run()
