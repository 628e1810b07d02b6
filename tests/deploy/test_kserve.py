"""The runtimes for KServe: their pods are valid, and what they start serves."""

from pathlib import Path

import pytest
from charts import ROOT, VERSIONS, Object, needs_schemas
from rendered_pod import RenderedPod
from repository import until
from rest_calls import ROW, ROW_ANSWER, ask
from server_under_test import free_port

from ovms.config.command_line import COMMANDS
from tests.models import synthetic

FOLDER = ROOT / "deploy" / "kserve"
RUNTIMES = {"ClusterServingRuntime": "cluster-serving-runtime.yaml", "ServingRuntime": "serving-runtime.yaml"}
yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: make chart-tools")


def runtime(kind: str) -> Object:
    loaded: Object = yaml.safe_load((FOLDER / RUNTIMES[kind]).read_text())
    return loaded


def test_both_are_the_same_but_for_their_reach() -> None:
    one, other = (runtime(kind) for kind in RUNTIMES)
    assert [one.pop("kind"), other.pop("kind")] == list(RUNTIMES)
    assert one == other


def test_the_service_asks_for_this_runtime_and_a_format_and_protocol_of_it() -> None:
    service = yaml.safe_load((FOLDER / "inference-service.yaml").read_text())
    model, spec = service["spec"]["predictor"]["model"], runtime("ServingRuntime")
    assert model["runtime"] == spec["metadata"]["name"]
    assert model["modelFormat"]["name"] in {one["name"] for one in spec["spec"]["supportedModelFormats"]}
    assert model["protocolVersion"] in spec["spec"]["protocolVersions"]


def test_a_protocol_has_a_port() -> None:
    """No port is listed, so requests go to 8080, and only what is spoken there is offered."""
    spec = runtime("ServingRuntime")["spec"]
    (container,) = spec["containers"]
    assert spec["protocolVersions"] == ["v1"]
    assert "ports" not in container
    assert "--rest_port=8080" in container["args"]


@needs_schemas
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_its_pod(version: str) -> None:
    import kubernetes_validate

    spec = {key: runtime("ServingRuntime")["spec"][key] for key in ("containers", "volumes")}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    kubernetes_validate.validate(pod, version, strict=True)


def test_its_options_are_the_server_s() -> None:
    (container,) = runtime("ServingRuntime")["spec"]["containers"]
    known = {option.name for _, options in COMMANDS["model"][1] for option in options}
    assert {argument.removeprefix("--").partition("=")[0] for argument in container["args"][1:]} <= known


def test_its_pod_serves(tmp_path: Path) -> None:
    """As KServe starts it: the service's name in place of the template, and the model in /mnt/models."""
    spec = runtime("ServingRuntime")["spec"]
    (container,) = spec["containers"]
    grpc, rest = free_port(), free_port()
    instead = {"{{.Name}}": "resnet", "=9000": f"={grpc}", "=8080": f"={rest}"}
    for old, new in instead.items():
        assert any(old in argument for argument in container["args"])
        container["args"] = [argument.replace(old, new) for argument in container["args"]]
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == 8080
        container[probe]["httpGet"]["port"] = rest
    container["volumeMounts"].append({"name": "kserve-provision-location", "mountPath": "/mnt/models"})
    pod = RenderedPod(spec, container, tmp_path / "pod")
    built = synthetic.add(1, tmp_path, name="built")
    (built / "1").rename(pod.path("/mnt/models") / "1")
    with pod.running() as server:
        until(lambda: pod.passes("readinessProbe") and pod.passes("livenessProbe"), lambda: server.text)
        assert ask(rest, "POST", "/v1/models/resnet:predict", ROW).json == ROW_ANSWER
        server.signal()
        until(lambda: not pod.passes("readinessProbe"), lambda: server.text)
        assert pod.passes("livenessProbe")
        assert server.wait() == 0
        assert "new requests are taken for 10 s" in server.text
