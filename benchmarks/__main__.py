"""``python -m benchmarks``: measure, print the targets, write the page."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    codec,
    differences,
    engines,
    json_codec,
    machine,
    management,
    predict,
    rest,
    server,
    storage,
    tuning,
)
from benchmarks.machine import Watch
from benchmarks.measure import Pace
from benchmarks.peers import PEERS
from benchmarks.report import Section, render
from benchmarks.rounds import JUDGED_ROUNDS

HERE = Path(__file__).parent
TENSORFLOW = HERE.parent / ".venv-tf" / "bin" / "python"
PARTS = ("codec", "json", "predict", "server", "rest", "engines", "differences", "management", "storage", "tuning")

INTRODUCTION = """
What ovms costs, next to what it replaces or builds on. Every ratio is to a baseline that was measured in the same run
on the same machine, in turn with ovms within each of several short rounds, servers in another order each round, so that
both meet the same disturbances. The figure of each is its least disturbed round: the shortest time, the highest rate.
Absolute figures are this machine's; ratios travel better. A verdict close to its limit can change from one run to the
next, more so on a machine that other programs use.

{machine}
* Rounds: {rounds} of {short:g} s a contestant; of {long:g} s for servers, at least {judged} if a target goes by them
* Made by `{command}` in {minutes:.1f} minutes, on {date}
"""


def main() -> int:
    """Run the parts asked for; 0 even if a target is missed, as the page says so."""
    arguments = _arguments()
    paces = {"short": Pace(3, 0.02), "long": Pace(3, 1.0)} if arguments.quick else {"short": Pace(15, 0.03)}
    short, long = paces["short"], paces.get("long", Pace(5, 2.0, most=15))
    tensorflow: Path | None = arguments.tensorflow or (TENSORFLOW if TENSORFLOW.exists() else None)
    parts: dict[str, Callable[[], Section]] = {
        "codec": lambda: codec.run(short, arguments.quick, tensorflow),
        "json": lambda: json_codec.run(short, arguments.quick),
        "predict": lambda: predict.run(short),
        "server": lambda: server.run(long),
        "rest": lambda: rest.run(long),
        "engines": lambda: engines.run(long, arguments.quick, dict(arguments.peer)),
        "differences": lambda: differences.run(long),
        "management": lambda: management.run(arguments.quick),
        "storage": lambda: storage.run(arguments.quick, arguments.download_mib),
        "tuning": lambda: tuning.run(long),
    }
    began = time.monotonic()
    sections = []
    for name in [arguments.only] if arguments.only else PARTS:
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        watch, before = Watch(), sum(os.times()[:4])
        section = parts[name]()
        others = watch.others(sum(os.times()[:4]) - before)
        section.text += f"\nDuring this part other programs took {others:.0%} of the cores on average.\n"
        sections.append(section)
    page = render(
        "Benchmarks",
        INTRODUCTION.format(
            machine=machine.describe(),
            judged=JUDGED_ROUNDS,
            rounds=f"{short.rounds}" if short.rounds == long.rounds else f"{short.rounds} (servers {long.rounds})",
            short=short.seconds,
            long=long.seconds,
            command=_command(arguments, tensorflow),
            minutes=(time.monotonic() - began) / 60,
            date=time.strftime("%Y-%m-%d"),
        ),
        sections,
    )
    for target in (target for section in sections for target in section.targets):
        print(f"{target.verdict.strip('*'):10} {target.text}: {target.measured}")
    arguments.output.write_text(page)
    for plot in (plot for section in sections for plot in section.plots):
        arguments.output.with_name(plot.file).write_text(plot.svg)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure ovms and render the page.")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and rounds: some minutes")
    parser.add_argument("--only", choices=PARTS, help="one part only")
    parser.add_argument(
        "--download-mib", type=int, metavar="N", help="size of the model that is downloaded from object stores"
    )
    parser.add_argument(
        "--tensorflow", type=Path, metavar="PYTHON", help="a Python that has TensorFlow, to compare with"
    )
    parser.add_argument(
        "--peer",
        type=_peer,
        action="append",
        default=[],
        metavar="NAME=PYTHON",
        help=f"a Python that has another model server, to compare with ({', '.join(PEERS)}); may be repeated",
    )
    parser.add_argument("--output", type=Path, default=HERE / "README.md", help="where the page goes (%(default)s)")
    return parser.parse_args()


def _peer(text: str) -> tuple[str, Path]:
    name, _, python = text.partition("=")
    if name not in PEERS or not python:
        raise argparse.ArgumentTypeError(f"expected NAME=PYTHON with one of {', '.join(PEERS)}")
    return name, Path(python)


def _command(arguments: argparse.Namespace, tensorflow: Path | None) -> str:
    options = ["--quick"] if arguments.quick else []
    options += ["--only", arguments.only] if arguments.only else []
    options += [f"--download-mib {arguments.download_mib}"] if arguments.download_mib else []
    options += ["--tensorflow PYTHON"] if tensorflow not in (None, TENSORFLOW) else []
    options += [f"--peer {name}=PYTHON" for name, _ in arguments.peer]
    return " ".join(["python -m benchmarks", *options])


if __name__ == "__main__":
    sys.exit(main())
