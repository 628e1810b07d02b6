"""The image serves as a user who may do nothing, by each way of saying what."""

import json
import re
from pathlib import Path

import pytest
from containers import IMAGE, Container, Podman, client_of, open_to_all, running, until
from ovms_client import Client, NotFound

from tests.models import zoo

pytestmark = pytest.mark.usefixtures("image")
FACE = ("--model_name", "face", "--model_path", "/models/face")
EXACT = ("--plugin_config", '{"INFERENCE_PRECISION_HINT": "f32"}')
REST = ("--rest_port", "8000")


def volume(model: zoo.RealModel) -> tuple[str, str]:
    return "-v", f"{model.folder.parent}:/models:ro"


def finds_the_face(container: Container, model: zoo.RealModel) -> None:
    with client_of(container) as client:
        model.check(client.predict("face", dict(model.inputs)))


def test_hardened(podman: Podman, face: zoo.RealModel) -> None:
    """uid 5000, no capabilities, nothing writable, one CPU, a gigabyte: both protocols answer, the limits are seen."""
    with running(podman, *FACE, *REST, *EXACT, options=volume(face)) as container:
        container.wait_until_serving()
        finds_the_face(container, face)
        with Client(f"http://127.0.0.1:{container.rest}") as client:
            face.check(client.predict("face", dict(face.inputs)))
        status = dict(re.findall(r"^(\w+):\s+(.*)$", container.run("cat", "/proc/1/status").stdout, re.MULTILINE))
        assert status["Uid"].split() == ["5000"] * 4
        assert status["Gid"].split() == ["5000"] * 4
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        for folder in ("/", "/tmp", "/var/lib/ovms", "/models"):
            refused = container.run("touch", f"{folder}/x", check=False)
            assert (refused.returncode, "Read-only file system" in refused.stderr) == (1, True), folder
        # The quota is 1, whatever the machine has; streams follow it.
        assert re.search(r" - CPUs: 1 of \d+ \(cpuset \d+, cgroup quota 1\)", container.log())
        asked = "from ovms.cgroups import usable_memory; print(usable_memory())"
        assert int(container.run("python", "-c", asked).stdout) == 1 << 30
        assert container.stop() == 0, container.log()


@pytest.mark.parametrize(
    "arguments",
    [
        ("/ie-serving-py/start_server.sh", "ie_serving", "model", *FACE, "--port", "9000"),
        ("ie_serving", "model", *FACE),
        ("model", *FACE),
    ],
    ids=["ancestor", "program", "command"],
)
def test_ways_to_say_what_to_serve(podman: Podman, face: zoo.RealModel, arguments: tuple[str, ...]) -> None:
    with running(podman, *arguments, *EXACT, options=volume(face)) as container:
        container.wait_until_serving()
        finds_the_face(container, face)


def test_options_by_environment_alone(podman: Podman, face: zoo.RealModel) -> None:
    said = {
        "OVMS_MODEL_NAME": "face",
        "OVMS_MODEL_PATH": "/models/face",
        "OVMS_PLUGIN_CONFIG": EXACT[1],
        "OVMS_NIREQ": "3",
        "LOG_LEVEL": "DEBUG",
    }
    variables = [word for name, value in said.items() for word in ("-e", f"{name}={value}")]
    with running(podman, options=(*variables, *volume(face))) as container:
        container.wait_until_serving()
        finds_the_face(container, face)
        assert ", 3 infer requests" in container.log()
        assert "DEBUG" in container.log()


def test_a_configuration_file(podman: Podman, face: zoo.RealModel, tmp_path: Path) -> None:
    """Checked, served, and read again at SIGHUP, though nothing polls."""

    def write(*names: str) -> None:
        models = [{"name": name, "base_path": "/models/face", "plugin_config": json.loads(EXACT[1])} for name in names]
        (tmp_path / "models.json").write_text(json.dumps({"model_config_list": [{"config": one} for one in models]}))
        open_to_all(tmp_path)

    write("face")
    file = ("--config_path", "/config/models.json")
    options = ("-v", f"{tmp_path}:/config:ro", *volume(face))
    assert podman("run", "--rm", *options, IMAGE, "check", *file).stdout == "model face: versions [1] ok\n"
    with running(podman, *file, options=("-e", "OVMS_FILE_SYSTEM_POLL_WAIT_SECONDS=0", *options)) as container:
        container.wait_until_serving()
        finds_the_face(container, face)
        write("face", "another")
        podman("kill", "--signal", "HUP", container.id)
        with client_of(container) as client:
            until(lambda: available(client, "another"), container.log)
            face.check(client.predict("another", dict(face.inputs)))


def available(client: Client, model: str) -> bool:
    try:
        return [version.state for version in client.status(model)] == ["AVAILABLE"]
    except NotFound:
        return False


def test_a_mistake_ends_it_with_one_line(podman: Podman) -> None:
    done = podman("run", "--rm", IMAGE, "--model_name", "m", check=False)
    assert done.returncode == 2
    *_, line = done.stderr.splitlines()  # podman may have lines of its own before it
    assert line == "error: the following arguments are required: --model_path (see 'ovms model --help')"
