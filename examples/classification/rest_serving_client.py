"""Send pictures of a NumPy file over REST, in any of the four forms that requests can have.

    row_noname     {"instances": [picture, picture, ...]}
    row_name       {"instances": [{"image": picture}, {"image": picture}, ...]}
    column_noname  {"inputs": [picture, picture, ...]}
    column_name    {"inputs": {"image": [picture, picture, ...]}}

Prints classes, latencies and, with labels, the accuracy.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from examples.classification.numpy_client import add_numpy_options, check_output, choose_output, classify, read_work
from examples.client_options import ExampleError, add_rest_options, choose_name, run
from examples.numpy_files import Array
from examples.rest_calls import ask, model_url

FORMATS = ("row_noname", "row_name", "column_noname", "column_name")
SIGNATURE = "serving_default"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_rest_options(parser)
    add_numpy_options(parser)
    help_text = "form of the requests (default: %(default)s)"
    parser.add_argument("--request_format", choices=FORMATS, default="row_noname", help=help_text)
    options = parser.parse_args()
    work = read_work(options)
    url = model_url(options)
    if work.images.dtype.kind not in "biufU":
        dtype = work.images.dtype
        raise ExampleError(f"{options.images_numpy_path}: values of dtype {dtype}, of which JSON has no form")
    if options.request_format.endswith("_name") or options.input_name or options.output_name:
        # Without names in a request or its reply nobody else would say that one is wrong.
        inputs, outputs = signature(ask(f"{url}/metadata", options))
        options.input_name = choose_name(options.model_name, inputs, options.input_name)
        check_output(outputs, options.output_name)

    def predict(batch: Array) -> Array:
        body = json.dumps(request(batch, options.request_format, options.input_name)).encode()
        return choose_output(outputs_of(ask(f"{url}:predict", options, body), options.output_name), options.output_name)

    classify(work, options, predict)


def signature(metadata: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Names of the inputs and of the outputs."""
    try:
        found = metadata["metadata"]["signature_def"]["signatureDef"][SIGNATURE]
        return list(found["inputs"]), list(found["outputs"])
    except (KeyError, TypeError) as error:
        raise ExampleError(f"the model's metadata have no signature {SIGNATURE!r}") from error


def request(batch: Array, form: str, name: str) -> dict[str, Any]:
    """A batch [N,...] in one of the four forms."""
    values = batch.tolist()
    if form == "row_noname":
        return {"signature_name": SIGNATURE, "instances": values}
    if form == "row_name":
        return {"signature_name": SIGNATURE, "instances": [{name: value} for value in values]}
    if form == "column_noname":
        return {"signature_name": SIGNATURE, "inputs": values}
    return {"signature_name": SIGNATURE, "inputs": {name: values}}


def outputs_of(reply: dict[str, Any], name: str | None) -> dict[str, Array]:
    """The outputs of a reply by name. A single output comes without one; it is taken for the one that is wanted."""
    if "predictions" in reply:  # to rows
        rows = reply["predictions"]
        if rows and isinstance(rows[0], dict):
            return {key: np.array([row[key] for row in rows]) for key in rows[0]}
        return {name or "": np.array(rows)}
    if "outputs" not in reply:
        raise ExampleError(f"the reply has neither predictions nor outputs, but {', '.join(reply) or 'nothing'}")
    columns = reply["outputs"]
    if isinstance(columns, dict):
        return {key: np.array(value) for key, value in columns.items()}
    return {name or "": np.array(columns)}


if __name__ == "__main__":
    run(main)
