"""Every example client against a live server with the real models, and the one line in which each of them fails."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from example_scripts import ROOT, Served, serving_examples
from openvino import opset15 as ops
from PIL import Image, ImageChops
from server_under_test import PATIENCE

from examples.face_detection.people import FACES
from examples.repository import write_version
from tests.models.slow import slow_steps
from tests.ports import free_port

GRPC, REST = "classification/grpc_serving_client.py", "classification/rest_serving_client.py"
JPEG = "classification/jpeg_classification.py"
FACE, FACE_TIMES = "face_detection/face_detection.py", "face_detection/face_detection_performance.py"
META, STATUS = "model_info/get_serving_meta.py", "model_info/get_model_status.py"
REST_META, REST_STATUS = "model_info/rest_get_serving_meta.py", "model_info/rest_get_model_status.py"
MULTI, THROUGHPUT = "multi_inputs/multi_inputs.py", "throughput/throughput_client.py"
FORMATS = ("row_noname", "row_name", "column_noname", "column_name")
DIGITS = ("--model_name", "digits", "--transpose_input", "False")
PICTURES_RIGHT, DIGITS_RIGHT = "85.71 % (6 of 7)", "95.28 % (343 of 360)"


def write_ssd(folder: Path) -> None:
    """A detector as those of the Open Model Zoo: `data` f32 [1,3,32,48] -> rows of [picture, class, score, box].

    Its only face has the mean of the picture, 0 to 1, as its score.
    """
    data = ops.parameter(ov.PartialShape([1, 3, 32, 48]), ov.Type.f32, name="data")
    data.output(0).get_tensor().set_names({"data"})
    axes = ops.constant(np.array([1, 2, 3], np.int64))
    mean = ops.multiply(ops.reduce_mean(data, axes, True), ops.constant(np.float32(1 / 255)))
    others = np.array([[0, 1, 0, 0.25, 0.5, 0.5, 0.75], [0, 1, 0.3, 0, 0, 1, 1], [-1, 0, 0, 0, 0, 0, 0]], np.float32)
    others = np.concatenate([others, np.float32([[0, 1, 0.9, 0, 0, 1, 1]])])[None, None]  # after the end: not meant
    score = ops.multiply(mean, ops.constant(np.float32([[0, 0, 1, 0, 0, 0, 0]])))
    first = ops.add(ops.constant(others[:, :, :1]), score)
    rows = ops.concat([first, ops.constant(others[:, :, 1:])], 2)
    rows.output(0).get_tensor().set_names({"detection_out"})
    write_version(ov.Model([ops.result(rows)], [data], "ssd"), folder / "models", "ssd")


def add_models(folder: Path) -> None:
    """The detector above, and a model that takes its time and has room for two calls."""
    write_ssd(folder)
    slow_steps(8000, folder / "models")
    config = json.loads((folder / "models.json").read_text())
    config["model_config_list"] += [
        {"config": {"name": "ssd", "base_path": "models/ssd"}},
        {"config": {"name": "slow", "base_path": "models/slow", "nireq": 1, "max_queue": 1}},
    ]
    (folder / "models.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving_examples(tmp_path_factory.mktemp("examples"), add_models) as served:
        yield served


def pictures(served: Served) -> list[object]:
    return [
        *("--images_numpy_path", served.folder / "imgs.npy", "--labels_numpy_path", served.folder / "lbs.npy"),
        *("--class_names_path", served.folder / "class_names.txt"),
        *("--model_name", "efficientnet", "--transpose_input", "False"),
    ]


def digits(served: Served) -> list[object]:
    labels = ("--labels_numpy_path", served.folder / "digits_labels.npy")
    return ["--images_numpy_path", served.folder / "digits.npy", *labels, *DIGITS]


def statistics(text: str) -> dict[str, float]:
    """The printed statistics by name."""
    return {name: float(value) for name, value in re.findall(r"^((?:\w+ )?time[\w ]*): ([\d.]+)", text, re.MULTILINE)}


def test_numpy_over_grpc_is_as_right_as_its_page_says(served: Served) -> None:
    outcome = served.run(GRPC, *pictures(served))
    assert outcome.code == 0, outcome
    assert f"Classification accuracy: {PICTURES_RIGHT}\n" in outcome.out
    assert "\t0 285 Egyptian cat; incorrect, should be 281 tabby\n" in outcome.out
    assert "\t0 967 espresso; correct\n" in outcome.out
    assert "Images in shape: (7, 224, 224, 3), uint8\n" in outcome.out


def test_statistics_are_those_of_the_printed_times(served: Served) -> None:
    outcome = served.run(GRPC, *digits(served), "--batchsize", 10)
    assert f"Classification accuracy: {DIGITS_RIGHT}\n" in outcome.out
    times = np.array([float(time) for time in re.findall(r"Processing time: ([\d.]+) ms", outcome.out)])
    assert len(times) == 36
    expected = {
        "average time": times.mean(),
        "median time": np.median(times),
        "max time": times.max(),
        "min time": times.min(),
        "time percentile 90": np.percentile(times, 90),
        "time percentile 50": np.percentile(times, 50),
        "time standard deviation": times.std(),
    }
    told = statistics(outcome.out)
    assert told.pop("time variance") == pytest.approx(times.var(), rel=0.05, abs=0.05)
    assert told == pytest.approx(expected, abs=0.011)  # each time was rounded to a hundredth
    speed = re.search(r"average speed: ([\d.]+) fps", outcome.out)
    assert speed
    assert float(speed[1]) == pytest.approx(10_000 / expected["average time"], rel=0.05)


def test_pictures_are_used_again_if_there_are_too_few(served: Served) -> None:
    outcome = served.run(GRPC, *digits(served), "--batchsize", 200, "--iterations", 9)  # each of them five times
    assert f"accuracy: 95.28 % ({5 * 343} of {5 * 360})" in outcome.out


def test_pictures_that_fill_up_the_last_request_do_not_count(served: Served) -> None:
    outcome = served.run(GRPC, *digits(served), "--batchsize", 200)
    assert outcome.out.count("; correct\n") == 343, outcome
    assert f"Classification accuracy: {DIGITS_RIGHT}\n" in outcome.out


@pytest.mark.parametrize("form", FORMATS)
def test_numpy_over_rest_in_each_form(served: Served, form: str) -> None:
    outcome = served.run(REST, *digits(served), "--batchsize", 60, "--request_format", form)
    assert outcome.code == 0, outcome
    assert f"Classification accuracy: {DIGITS_RIGHT}\n" in outcome.out
    assert len(statistics(outcome.out)) == 8


def test_pictures_over_rest(served: Served) -> None:
    options = ("--model_version", 1, "--output_name", "probabilities", "--request_format", "column_name")
    outcome = served.run(REST, *pictures(served), *options)
    assert f"Classification accuracy: {PICTURES_RIGHT}\n" in outcome.out, outcome


@pytest.mark.parametrize("form", FORMATS)
def test_one_of_several_outputs_over_rest(served: Served, form: str, tmp_path: Path) -> None:
    np.save(tmp_path / "dark.npy", np.zeros((2, 8, 8, 3), np.uint8))
    options = ("--model_name", "face-detection", "--transpose_input", "False", "--request_format", form)
    outcome = served.run(REST, "--images_numpy_path", tmp_path / "dark.npy", *options, "--output_name", "scores")
    assert outcome.code == 0, outcome
    assert outcome.out.count("top results") == 2
    failed = served.run(REST, "--images_numpy_path", tmp_path / "dark.npy", *options).error()
    assert failed.endswith("choose one of several outputs; available outputs: boxes, landmarks, scores")


def test_a_list_of_jpegs(served: Served) -> None:
    names = ("--class_names_path", served.folder / "class_names.txt")
    options = ("--images_list", served.folder / "input_images.txt", "--model_name", "efficientnet", *names)
    outcome = served.run(JPEG, *options)
    assert outcome.out.startswith("chelsea.jpg: 285 Egyptian cat; incorrect, should be 281 tabby;"), outcome
    assert f"Classification accuracy: {PICTURES_RIGHT}\n" in outcome.out
    assert len(statistics(outcome.out)) == 8


@pytest.mark.parametrize("batch_size", [1, 3])
def test_faces_are_counted_and_drawn(served: Served, batch_size: int, tmp_path: Path) -> None:
    people, results = served.folder / "people", tmp_path / "new" / "results"
    options = ("--input_images_dir", people, "--output_dir", results, "--batch_size", batch_size)
    outcome = served.run(FACE, *options, "--width", 600, "--height", 400)
    assert outcome.code == 0, outcome
    counts = {name: int(count) for name, count in re.findall(r"^(\w+\.jpg): (\d) faces?$", outcome.out, re.MULTILINE)}
    assert counts == FACES
    assert f"5 faces in 4 pictures; the pictures with boxes are in {results}\n" in outcome.out
    for name, count in FACES.items():
        with Image.open(people / name) as before, Image.open(results / name) as after:
            assert after.size == (600, 400)
            change = ImageChops.difference(before.convert("RGB").resize((600, 400)), after)
        drawn = np.asarray(change).max(2) > 100  # more than what JPEG changes
        assert drawn.any() == (count > 0), name


def test_faces_of_a_detector_with_rows(served: Served, tmp_path: Path) -> None:
    for name, grey in (("dark.png", 50), ("light.png", 204)):
        Image.new("RGB", (60, 60), (grey,) * 3).save(tmp_path / name)
    options = ("--input_images_dir", tmp_path, "--output_dir", tmp_path / "results", "--model_name", "ssd")
    outcome = served.run(FACE, *options, "--width", 48, "--height", 32)
    assert outcome.out.startswith(
        "dark.png: 0 faces\nlight.png: 1 face\n  score 0.800, x 12.0 to 24.0, y 16.0 to 24.0 (12 x 8 pixels)\n"
    ), outcome


def test_times_of_face_detection(served: Served) -> None:
    options = ("--input_images_dir", served.folder / "people", "--batch_size", 4, "--iterations", 2)
    outcome = served.run(FACE_TIMES, *options, "--width", 64, "--height", 64)
    assert outcome.out.startswith("Batch 1: astronaut.jpg, camera.jpg, coffee.jpg, three.jpg, 2 times\n"), outcome
    assert len(statistics(outcome.out)) == 8


def test_each_batch_that_is_timed_is_a_whole_one(served: Served) -> None:
    options = ("--input_images_dir", served.folder / "people", "--batch_size", 3, "--iterations", 1)
    outcome = served.run(FACE_TIMES, *options, "--width", 64, "--height", 64)
    assert "\nBatch 2: three.jpg, astronaut.jpg, camera.jpg, 1 times\n" in outcome.out, outcome


def test_metadata(served: Served) -> None:
    outcome = served.run(META, "--model_name", "face-detection", "--model_version", 1)
    assert "\tInput name: image; shape: [-1, -1, -1, 3]; dtype: uint8\n" in outcome.out, outcome
    assert "\tOutput name: boxes; shape: [-1, 50, 4]; dtype: float32\n" in outcome.out
    document = json.loads(served.run(REST_META, "--model_name", "digits").out)
    signature = document["metadata"]["signature_def"]["signatureDef"]["serving_default"]
    assert signature["inputs"]["pixels"]["dtype"] == "DT_FLOAT"


def test_status(served: Served) -> None:
    outcome = served.run(STATUS, "--model_name", "digits")
    assert "\nModel version: 1\nState: AVAILABLE\nError code: OK\n" in outcome.out, outcome
    document = json.loads(served.run(REST_STATUS, "--model_name", "digits", "--model_version", 1).out)
    assert [version["state"] for version in document["model_version_status"]] == ["AVAILABLE"]


def test_throughput(served: Served) -> None:
    outcome = served.run(THROUGHPUT, "--model_name", "digits", "--calls", 50, "--in_flight", 8, "--batchsize", 3)
    assert outcome.code == 0, outcome
    assert outcome.out.startswith("50 calls of 3, 8 in flight, in ")
    rates = re.search(r"([\d.]+) calls/s; ([\d.]+) pictures/s", outcome.out)
    assert rates
    assert float(rates[2]) == pytest.approx(3 * float(rates[1]), abs=0.2)
    latencies = re.search(r"p50 ([\d.]+), p90 ([\d.]+), p99 ([\d.]+), max ([\d.]+)", outcome.out)
    assert latencies
    assert sorted(map(float, latencies.groups())) == list(map(float, latencies.groups()))


def test_throughput_counts_calls_that_a_full_queue_refuses(served: Served, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 10), np.float32))
    options = ("--images_numpy_path", tmp_path / "x.npy", "--calls", 12, "--in_flight", 6)
    outcome = served.run(THROUGHPUT, "--model_name", "slow", *options)
    assert outcome.code == 1
    answered = re.search(r"^(\d+) calls of 1, 6 in flight", outcome.out)
    refused = re.search(r"^failed calls: (\d+) RESOURCE_EXHAUSTED$", outcome.out, re.MULTILINE)
    assert answered, outcome
    assert refused, outcome
    assert int(answered[1]) + int(refused[1]) == 12
    assert int(answered[1]) >= 2


def test_several_sources_and_models(served: Served, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (40, 40), (0, 0, shade)) for shade in (0, 100, 200)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    sources = ("-f", served.folder / "people", "-f", tmp_path / "film.gif", "-c", 2, "-d", 64)
    models = ("-n", "face-detection", "-n", "efficientnet")
    outcome = served.run(MULTI, *models, *sources, "--frames", 2, "--fps", 0)
    assert outcome.code == 0, outcome
    for number, name in enumerate(("people", "people", "film.gif", "film.gif")):
        assert re.search(rf"source {number} \({name}\): 2 frames, [\d.]+ fps, 0 dropped, latency p50", outcome.out)
    assert re.search(r"efficientnet: 8 answers, [\d.]+ a second; the last one: probabilities \[1, 1000\]", outcome.out)
    assert "the last one: boxes [1, 50, 4], scores [1, 50], landmarks [1, 50, 10]" in outcome.out
    chosen = served.run(MULTI, "-n", "face-detection", *sources[2:], "-o", "scores", "--frames", 1)
    assert "face-detection: 2 answers" in chosen.out, chosen
    assert chosen.out.endswith("the last one: scores [1, 50]\n")
    rates = [float(rate) for rate in re.findall(r" ([\d.]+) fps", chosen.out)]
    assert len(rates) == 2
    assert max(rates) <= 30  # however soon the only frame is answered


def test_a_source_that_fails_is_told_and_the_others_go_on(served: Served) -> None:
    outcome = served.run(MULTI, "-n", "nobody", "-f", served.folder / "people", "-c", 2)
    assert outcome.code == 1
    assert outcome.err.count("error: source") == outcome.err.count("model 'nobody': NOT_FOUND") == 2, outcome


def test_runs_as_a_program_from_any_folder(served: Served, tmp_path: Path) -> None:
    # There is no such proxy: servers on this machine are asked without one.
    environment = os.environ | {"http_proxy": "http://localhost:1", "no_proxy": "elsewhere"}
    for script, port, expected in (
        (META, ("--grpc_port", str(served.grpc_port)), "Input name: pixels; shape: [-1, 64]; dtype: float32"),
        (REST_STATUS, ("--rest_port", str(served.rest_port)), '"state": "AVAILABLE"'),
    ):
        command = [sys.executable, str(ROOT / "examples" / script), "--model_name", "digits", *port]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        assert expected in done.stdout


def test_no_such_file(served: Served, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    for script, *arguments in (
        (GRPC, "--images_numpy_path", nowhere),
        (REST, "--images_numpy_path", nowhere),
        (THROUGHPUT, "--images_numpy_path", nowhere),
        (GRPC, "--images_numpy_path", served.folder / "imgs.npy", "--labels_numpy_path", nowhere),
        (GRPC, "--images_numpy_path", served.folder / "imgs.npy", "--class_names_path", nowhere),
        (JPEG, "--images_list", nowhere),
        (FACE, "--input_images_dir", nowhere),
        (FACE_TIMES, "--input_images_dir", nowhere),
        (MULTI, "-n", "digits", "-f", nowhere),
    ):
        model = () if script in (FACE, FACE_TIMES, MULTI) else ("--model_name", "digits")
        assert served.run(script, *arguments, *model).error() == f"error: {nowhere}: No such file or directory", script


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        (GRPC, ("--images_numpy_path", "models.json"), "models.json: not a NumPy file of numbers (.npy)"),
        (
            GRPC,
            ("--images_numpy_path", "imgs.npy", "--labels_numpy_path", "digits_labels.npy"),
            "digits_labels.npy: labels of shape [360] for 7 pictures",
        ),
        (
            GRPC,
            ("--images_numpy_path", "digits.npy"),
            "digits.npy: shape [360, 64] has no colours to transpose; use --transpose_input False",
        ),
        (
            GRPC,
            ("--images_numpy_path", "digits.npy", *DIGITS, "--output_name", "p"),
            "no output 'p'; available outputs: probabilities",
        ),
        (
            GRPC,
            ("--images_numpy_path", "digits.npy", *DIGITS, "--input_name", "x"),
            "model 'digits' has no input 'x'; its inputs: pixels",
        ),
        (
            GRPC,  # transposed, which is the default, but not what the model takes
            ("--images_numpy_path", "imgs.npy", "--model_name", "efficientnet"),
            "model 'efficientnet': INVALID_ARGUMENT: ",
        ),
        (
            JPEG,
            ("--images_list", "words.txt"),
            "line 2: expected a path and a class number, not 'b.jpg cat'",
        ),
        (JPEG, ("--images_list", "list.txt"), "models.json: not a picture"),
        (JPEG, ("--images_list", "input_images.txt"), "input 'pixels' of shape [-1, 64] does not take pictures"),
        (FACE, ("--input_images_dir", "models"), "models: no pictures here; expected .jpg, .jpeg, "),
        (
            FACE,
            ("--input_images_dir", "people", "--model_name", "efficientnet"),
            "are no faces that this example can read: probabilities [1, 1000]",
        ),
        (FACE, ("--input_images_dir", "people", "--output_dir", "models.json"), "models.json: File exists"),
        (FACE, ("--input_images_dir", "people", "--output_dir", "people"), "people: the results would take the place"),
        (
            GRPC,
            ("--images_numpy_path", "digits.npy", *DIGITS, "--labels_numpy_path", "nan.npy"),
            "nan.npy: values of dtype float64, expected whole numbers: the classes",
        ),
        (
            GRPC,
            ("--images_numpy_path", "digits.npy", *DIGITS, "--batchsize", "10000000"),
            "a batch of 10000000 has 2560000000 bytes, more than the 1073741824 of a request",
        ),
        (
            REST,
            ("--images_numpy_path", "complex.npy", *DIGITS),
            "complex.npy: values of dtype complex64, of which JSON has no form",
        ),
        (
            REST,
            ("--images_numpy_path", "digits.npy", *DIGITS, "--output_name", "p"),
            "no output 'p'; available outputs: probabilities",
        ),
        (
            REST,
            ("--images_numpy_path", "digits.npy", *DIGITS, "--input_name", "x"),
            "model 'digits' has no input 'x'; its inputs: pixels",
        ),
        (
            THROUGHPUT,
            ("--model_name", "digits", "--batchsize", "10000000"),
            "a batch of 10000000 has 2560000000 bytes, more than the 1073741824 of a request",
        ),
        (
            THROUGHPUT,
            ("--model_name", "efficientnet"),
            "input 'image' has no fixed shape: give pictures with --images_numpy_path",
        ),
    ],
)
def test_what_does_not_fit(served: Served, script: str, arguments: tuple[str, ...], message: str) -> None:
    (served.folder / "list.txt").write_text("models.json 1\n")
    (served.folder / "words.txt").write_text("a.jpg 1\nb.jpg cat\n")
    np.save(served.folder / "complex.npy", np.zeros((1, 64), np.complex64))
    np.save(served.folder / "nan.npy", np.full(360, np.nan))
    found = [served.folder / one if (served.folder / one).exists() else one for one in arguments]
    if script == JPEG:
        found += ["--model_name", "digits"]
    assert message in served.run(script, *found).error()


@pytest.mark.parametrize("script", [GRPC, REST, JPEG, FACE, FACE_TIMES, META, STATUS, REST_META, REST_STATUS])
def test_no_such_model_and_no_such_server(served: Served, script: str) -> None:
    inputs = {
        GRPC: ("--images_numpy_path", served.folder / "digits.npy", "--transpose_input", "False"),
        REST: ("--images_numpy_path", served.folder / "digits.npy", "--transpose_input", "False"),
        JPEG: ("--images_list", served.folder / "input_images.txt"),
        FACE: ("--input_images_dir", served.folder / "people"),
        FACE_TIMES: ("--input_images_dir", served.folder / "people"),
    }.get(script, ())
    absent = served.run(script, *inputs, "--model_name", "nobody").error()
    assert "nobody" in absent
    assert "Servable not found" in absent
    nobody = Served(served.folder, (port := free_port()), port)
    swapped = Served(served.folder, served.rest_port, served.grpc_port)
    assert f"localhost:{served.grpc_port if script in (REST, REST_META, REST_STATUS) else served.rest_port}" in (
        told := swapped.run(script, *inputs, "--model_name", "digits").error()
    )
    assert told.isprintable(), told
    unreachable = nobody.run(script, *inputs, "--model_name", "digits").error()
    assert f"localhost:{port}" in unreachable
    assert "Connection refused" in unreachable


@pytest.mark.parametrize("script", ["prepare.py", "face_detection/build_face_model.py"])
def test_no_such_folder(served: Served, script: str) -> None:
    failed = served.run(script, served.folder / "models.json").error()  # whose files are in the cache by now
    assert "Not a directory" in failed
    assert "models.json" in failed


@pytest.mark.parametrize(
    "arguments",
    [
        ("--grpc_port", "0"),
        ("--grpc_port", "65536"),
        ("--grpc_port", "x"),
        ("--grpc_address", "http://localhost"),
        ("--grpc_address", "localhost:9000"),
        ("--batchsize", "0"),
        ("--iterations", "-1"),
    ],
)
def test_options_that_cannot_be(served: Served, arguments: tuple[str, object]) -> None:
    outcome = served.run(GRPC, "--images_numpy_path", "x", *arguments)
    assert outcome.code == 2
    assert f"argument {arguments[0]}: " in outcome.err
