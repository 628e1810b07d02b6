"""Print the state of a model's versions as the JSON document that REST has for it."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.client_options import add_model_options, add_rest_options, run
from examples.rest_calls import ask, model_url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_rest_options(parser)
    add_model_options(parser)
    options = parser.parse_args()
    print(json.dumps(ask(model_url(options), options), indent=2))


if __name__ == "__main__":
    run(main)
