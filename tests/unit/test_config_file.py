"""Configuration files that are right, and what is said of the others."""

import json
import logging
import os
import random
from pathlib import Path

import pytest

from ovms.config import AUTO, ONLY_INPUT, ModelConfig, Preprocessing, inspect_config, read_config
from ovms.core.version_policy import All, Latest, Specific
from ovms.errors import ConfigError

HEAD = "/model_config_list/0/config"


def written(folder: Path, content: object) -> str:
    file = folder / "ovms.json"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(file)


def one(**options: object) -> dict[str, object]:
    return {"model_config_list": [{"config": {"name": "m", "base_path": "/m", **options}}]}


def first_error(file: str) -> str:
    with pytest.raises(ConfigError) as refused:
        read_config(file)
    return refused.value.message


def test_every_key(tmp_path: Path) -> None:
    models = read_config(
        written(
            tmp_path,
            one(
                model_version_policy={"specific": {"versions": [1, 3]}}, version_labels={"stable": 1}, shape="auto",
                compiled_shapes=3, layout="NHWC:NCHW", precision="u8", color_format="BGR:RGB", mean=[1, 2, 3],
                scale=255, nireq="4", max_queue=0, target_device="GPU", plugin_config={"NUM_STREAMS": 2},
                cpu_extension="/x.so", warmup="1", unload_before_load=True, ready_file=True, reload_on_change=False,
            ),
        )
    )  # fmt: skip
    preprocessing = Preprocessing("NHWC:NCHW", "u8", "BGR:RGB", (1, 2, 3), (255,))
    assert models == (
        ModelConfig(
            name="m", base_path="/m", version_policy=Specific(frozenset({1, 3})), version_labels={"stable": 1},
            shapes={ONLY_INPUT: AUTO}, compiled_shapes=3, preprocessing={ONLY_INPUT: preprocessing}, nireq=4,
            max_queue=0, target_device="GPU", plugin_config={"NUM_STREAMS": "2"}, cpu_extension="/x.so", warmup=1,
            unload_before_load=True, ready_file=True,
        ),
    )  # fmt: skip


def test_what_is_left_out_has_the_defaults(tmp_path: Path) -> None:
    assert read_config(written(tmp_path, one())) == (ModelConfig(name="m", base_path="/m", version_policy=Latest(1)),)


def test_no_models(tmp_path: Path) -> None:
    assert read_config(written(tmp_path, {"model_config_list": []})) == ()


def test_several_models_in_their_order(tmp_path: Path) -> None:
    entries = [{"config": {"name": name, "base_path": f"/{name}"}} for name in ("b", "a", "c")]
    assert [model.name for model in read_config(written(tmp_path, {"model_config_list": entries}))] == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("given", "size"), [({"batch_size": 8}, 8), ({"batch_size": "8"}, 8), ({"batch_size": "auto"}, AUTO), ({}, None)]
)
def test_batch_size(tmp_path: Path, given: dict[str, object], size: object) -> None:
    assert read_config(written(tmp_path, one(**given)))[0].batch_size == size


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    assert len(read_config(written(tmp_path, b"\xef\xbb\xbf" + json.dumps(one()).encode()))) == 1


def test_a_relative_path_counts_from_the_files_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "etc").mkdir()
    written(tmp_path / "etc", one(base_path="models/m", cpu_extension="x.so"))
    model = read_config("etc/ovms.json")[0]
    assert (model.base_path, model.cpu_extension) == (str(tmp_path / "etc/models/m"), str(tmp_path / "etc/x.so"))


def test_unknown_keys_are_warned_about_by_name_and_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    document = one(batchsize=4, **{"a/b~": 1}) | {"monitoring": {"metrics": {}}}
    document["model_config_list"][0]["note"] = "x"  # type: ignore[index]
    file = written(tmp_path, document)
    with caplog.at_level(logging.WARNING, logger="ovms"):
        assert len(read_config(file)) == 1
    warnings = [record.getMessage() for record in caplog.records]
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert warnings == [
        f'{file}: /monitoring: unknown key "monitoring", which has no effect',
        f'{file}: /model_config_list/0/note: unknown key "note", which has no effect',
        f'{file}: {HEAD}/batchsize: unknown key "batchsize", which has no effect',
        f'{file}: {HEAD}/a~1b~0: unknown key "a/b~", which has no effect',
    ]
    assert list(inspect_config(file).warnings) == warnings


def test_shape_goes_before_batch_size(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="ovms"):
        model = read_config(written(tmp_path, one(shape="(1,3)", batch_size=4)))[0]
    assert (model.shapes, model.batch_size) == ({ONLY_INPUT: "[1,3]"}, None)
    assert [record.getMessage() for record in caplog.records] == [
        "Both shape and batch_size parameters are set for model: m. "
        "Assuming that model is reshapable - batch_size will be ignored"
    ]


# content, what follows the file's name in the message
BAD_FILES: list[tuple[object, str]] = [
    ("", "not valid JSON: Expecting value at line 1 column 1"),
    ("{", "not valid JSON: Expecting property name enclosed in double quotes at line 1 column 2"),
    ('{\n "model_config_list": [,]}', "not valid JSON: "),
    ('{"a": 1}\n{', "not valid JSON: Extra data at line 2 column 1"),
    ("{'a': 1}", "not valid JSON: Expecting property name"),
    ('{"model_config_list": "a\nb"}', "not valid JSON: Invalid control character at line 1 column 25"),
    (b"\xff\xfe{\x00", "not UTF-8: byte 0xff at line 1, offset 0"),
    (b'{"a":\n"\xe9"}', "not UTF-8: byte 0xe9 at line 2, offset 7"),
    ("[" * 100000, "not usable JSON: nested too deeply, expected at most 32 levels"),
    ('{"a": ' + "[" * 40 + "]" * 40 + "}", "not usable JSON: nested too deeply at /a/0/0/0"),
    ("9" * 5000, "not usable JSON: a number in it has too many digits"),
    (b" " * (16 * 1024 * 1024 + 1), "larger than 16 MiB"),
    ([], 'expected an object with "model_config_list", not a list'),
    ("null", 'expected an object with "model_config_list", not null'),
    ('"x"', 'expected an object with "model_config_list", not text'),
    ({}, '"model_config_list" is missing; expected a list of {"config":'),
    ("[true]", 'expected an object with "model_config_list", not a list'),
    (7, 'expected an object with "model_config_list", not a number'),
    (
        {"model_config_list": {}},
        '/model_config_list: expected a list of {"config": {"name": ..., "base_path": ...}}, not an object',
    ),
    (
        {"model_config_list": None},
        '/model_config_list: expected a list of {"config": {"name": ..., "base_path": ...}}, not null',
    ),
    (
        {"model_config_list": ["m"]},
        '/model_config_list/0: expected {"config": {"name": ..., "base_path": ...}}, not text',
    ),
    ({"model_config_list": [{}]}, '/model_config_list/0: "config" is missing; expected {"config": '),
    ({"model_config_list": [{"config": []}]}, f"{HEAD}: expected an object with the model's options, not a list"),
    ({"model_config_list": [{"config": {"base_path": "/m"}}]}, f'{HEAD}: "name" is missing'),
    ({"model_config_list": [{"config": {"name": "m"}}]}, f'{HEAD}: "base_path" is missing'),
    (one(name=""), f"{HEAD}/name: must not be empty"),
    (one(name=5), f"{HEAD}/name: 5 is not text"),
    (one(name="\ud800"), f"{HEAD}/name: "),
    (one(base_path=None), f"{HEAD}/base_path: null is not text"),
    (one(base_path=" "), f"{HEAD}/base_path: must not be empty"),
    (one(base_path="/m\0"), f'{HEAD}/base_path: "/m\\u0000" is not text without NUL characters'),
    (one(base_path="\ud800"), f"{HEAD}/base_path: "),
    (one(nireq="x"), f'{HEAD}/nireq: "x" is not a whole number, 0 or more'),
    (one(nireq=-1), f"{HEAD}/nireq: -1 is not a whole number, 0 or more"),
    (one(nireq=1.5), f"{HEAD}/nireq: 1.5 is not a whole number, 0 or more"),
    (one(nireq=True), f"{HEAD}/nireq: true is not a whole number, 0 or more"),
    (one(nireq=None), f"{HEAD}/nireq: null is not a whole number, 0 or more"),
    (one(nireq=2**31), f"{HEAD}/nireq: 2147483648 is not a whole number, 0 to 1024"),
    (one(max_queue="many"), f'{HEAD}/max_queue: "many" is not a whole number, 0 or more'),
    (one(warmup=[]), f"{HEAD}/warmup: [] is not a whole number, 0 or more"),
    (one(compiled_shapes="-1"), f'{HEAD}/compiled_shapes: "-1" is not a whole number, 0 or more'),
    (one(batch_size=0), f'{HEAD}/batch_size: 0 is not a whole number, 1 or more, or "auto"'),
    (one(batch_size="big"), f'{HEAD}/batch_size: "big" is not a whole number, 1 or more, or "auto"'),
    (one(shape="1,2"), f"{HEAD}/shape: Error getting shapes from the string: 1,2: "),
    (one(shape={"a": 4}), f'{HEAD}/shape: Error getting shapes from the string: {{"a": 4}}: input "a": 4 is not a sh'),
    (one(layout="NHXC:NCHW"), f'{HEAD}/layout: "NHXC:NCHW" is not a change of layout'),
    (one(precision="FP12"), f'{HEAD}/precision: "FP12" is not an element type'),
    (one(color_format="RGB"), f'{HEAD}/color_format: "RGB" is not a conversion of colours'),
    (one(mean="a"), f'{HEAD}/mean: "a" is not a number'),
    (one(scale=[1, 0]), f"{HEAD}/scale: [1, 0] is not a scale"),
    (one(target_device=1), f"{HEAD}/target_device: 1 is not text"),
    (one(cpu_extension=""), f"{HEAD}/cpu_extension: must not be empty"),
    (one(plugin_config="{}"), f"{HEAD}/plugin_config: expected a JSON object, such as"),
    (one(plugin_config={"A": []}), f"{HEAD}/plugin_config: A: expected text, a number or true/false, not a list"),
    (one(ready_file="true"), f'{HEAD}/ready_file: "true" is not true or false'),
    (one(reload_on_change=1), f"{HEAD}/reload_on_change: 1 is not true or false"),
    (one(version_labels={"a": 0}), f'{HEAD}/version_labels: label "a": 0 is not a whole number, 1 or more'),
    (one(version_labels=["a"]), f"{HEAD}/version_labels: expected an object with versions by label"),
    (
        one(model_version_policy={"latest": {"num_versions": 0}}),
        f'{HEAD}/model_version_policy: ModelVersionPolicy {{"latest": {{"num_versions": 0}}}} is not valid.',
    ),
    (one(model_version_policy='{"all": {}}'), f"{HEAD}/model_version_policy: ModelVersionPolicy "),
    (one(model_version_policy={"newest": 1}), f'{HEAD}/model_version_policy: ModelVersionPolicy {{"newest": 1}}'),
    (one(mean=float("nan")), f"{HEAD}/mean: NaN, Infinity and what is too large for a number are not allowed"),
    ('{"model_config_list": [], "x": -Infinity}', "/x: NaN, Infinity and what is too large"),
    ('{"model_config_list": [], "x": 1e999}', "/x: NaN, Infinity and what is too large"),
    (
        '{"model_config_list": [{"config": {"name": "a", "base_path": "/a", "nireq": 1, "nireq": 2}}]}',
        f"{HEAD}/nireq: the key stands in its object more than once; keep one",
    ),
    ('{"model_config_list": [], "model_config_list": []}', "/model_config_list: the key stands in its object more"),
    (
        {"model_config_list": [{"config": {"name": "m", "base_path": f"/{path}"}} for path in "ab"]},
        f'/model_config_list/1/config/name: "m" is the name of another model too, at {HEAD}/name; expected another',
    ),
]


@pytest.mark.parametrize(("content", "message"), BAD_FILES, ids=range(len(BAD_FILES)))
def test_a_bad_file_is_one_clear_line(tmp_path: Path, content: object, message: str) -> None:
    file = written(tmp_path, content)
    line = first_error(file)
    assert line.startswith(f"{file}: {message}")
    assert "\n" not in line
    assert len(line) < len(file) + 600
    assert inspect_config(file).errors[0] == line


def test_places_that_are_no_files(tmp_path: Path) -> None:
    assert first_error(str(tmp_path)) == f"{tmp_path}: not a regular file; expected a JSON file"
    assert first_error(str(tmp_path / "x")) == f"{tmp_path / 'x'}: cannot be read: No such file or directory"
    os.mkfifo(tmp_path / "pipe")
    assert first_error(str(tmp_path / "pipe")) == f"{tmp_path / 'pipe'}: not a regular file; expected a JSON file"
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert first_error(str(tmp_path / "loop")).startswith(f"{tmp_path / 'loop'}: cannot be read: Too many levels")


def test_all_mistakes_are_found_and_good_models_kept(tmp_path: Path) -> None:
    entries = [
        {"config": {"name": "good", "base_path": "/good", "model_version_policy": {"all": {}}, "typo": 1}},
        {"config": {"name": "bad", "nireq": "x", "warmup": "y"}},
        {"cfg": {}},
        {"config": {"name": "good", "base_path": "/other"}},
    ]
    file = written(tmp_path, {"model_config_list": entries})
    found = inspect_config(file)
    assert found.models == (ModelConfig(name="good", base_path="/good", version_policy=All()),)
    assert [error.removeprefix(f"{file}: /model_config_list/").split(":")[0] for error in found.errors] == [
        "1/config",
        "1/config/nireq",
        "1/config/warmup",
        "2",
        "3/config/name",
    ]
    assert len(found.warnings) == 2
    with pytest.raises(ConfigError) as refused:
        found.checked()
    assert refused.value.message == found.errors[0]


def test_whatever_the_bytes_are_an_answer_comes_back(tmp_path: Path) -> None:
    """Nothing that a file may hold raises anything but ConfigError, and every line of an answer can be printed."""
    chance = random.Random(20)
    pieces = [
        *(
            b'"',
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b"-1",
            b"1e999",
            b"NaN",
            b"null",
            b"true",
            b"\xff",
            b"\xef\xbb\xbf",
        ),
        *(b'"\\ud800"', b'"name"', b'"shape"', b'"auto"', b'"(1,?)"', b'"{}"', b'"{\\"a\\": 1}"', b"9" * 400),
    ]
    good = json.dumps(one(shape={"a": "auto"}, mean=[1, 2], plugin_config={"A": 1}, version_labels={"b": 1})).encode()
    outcomes = set()
    for _ in range(3000):
        content = good
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(content))
            content = content[:at] + chance.choice(pieces) + content[at + chance.randint(0, 12) :]
        found = inspect_config(written(tmp_path, content))
        outcomes.add((bool(found.errors), bool(found.models)))
        for line in (*found.errors, *found.warnings):
            assert "\n" not in line.encode().decode()
    assert {(True, False), (False, True)} <= outcomes
