"""The Helm chart: what it renders is valid, and fits together."""

import json
from pathlib import Path
from typing import Any

import pytest
from charts import (
    CHART,
    HELMS,
    ROOT,
    VALUES,
    VERSIONS,
    Object,
    helm,
    needs_schemas,
    of_kind,
    pod_of,
    render,
    the,
)

import ovms
from ovms.config.command_line import COMMANDS

each_values = pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
SINGLE = CHART / "ci" / "single-model-values.yaml"


def by_name(objects: list[Object]) -> dict[tuple[str, str], Object]:
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


@each_values
@pytest.mark.parametrize("name", HELMS)
def test_it_lints(name: str, values: Path) -> None:
    done = helm(name, "lint", "--strict", str(CHART), "--values", str(values))
    assert done.returncode == 0, done.stdout + done.stderr


@each_values
def test_both_helms_render_the_same(values: Path) -> None:
    objects = [by_name(render(values, name=name)) for name in HELMS]
    assert objects[0] == objects[1]
    assert len(objects[0]) >= 4


@needs_schemas
@each_values
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_it(values: Path, version: str) -> None:
    import kubernetes_validate

    objects = [one for one in render(values, version=version) if one["kind"] != "ServiceMonitor"]
    for one in objects:
        kubernetes_validate.validate(one, version, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(the(objects, "Deployment") | {"speck": {}}, version, strict=True)


@each_values
def test_what_points_at_something_points_at_something_there(values: Path) -> None:
    """What schemas do not see."""
    objects = render(values)
    deployment = the(objects, "Deployment")
    pod, container = pod_of(objects)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert all(0 < port < 65536 for port in ports.values())
    assert len(set(ports.values())) == len(ports)
    assert {one["metadata"]["namespace"] for one in objects} == {"n"}

    selectors = [deployment["spec"]["selector"]["matchLabels"]]
    selectors += [service["spec"]["selector"] for service in of_kind(objects, "Service")]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in of_kind(objects, "PodDisruptionBudget")]
    selectors += [one["spec"]["podSelector"]["matchLabels"] for one in of_kind(objects, "NetworkPolicy")]
    selectors += [one["labelSelector"]["matchLabels"] for one in pod["topologySpreadConstraints"]]
    assert len(selectors) >= 5
    for selector in selectors:
        assert selector
        assert selector.items() <= labels.items()

    for service in of_kind(objects, "Service"):
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports
            if service["spec"].get("clusterIP") == "None":
                assert port["port"] == ports[port["targetPort"]]
    for policy in of_kind(objects, "NetworkPolicy"):
        assert {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]} <= set(ports)
        assert all(rule["from"] for rule in policy["spec"]["ingress"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] in ports

    volumes = {volume["name"] for volume in pod["volumes"]}
    mounts = [mount["name"] for mount in container["volumeMounts"]]
    assert sorted(mounts) == sorted(volumes)
    assert len({mount["mountPath"] for mount in container["volumeMounts"]}) == len(mounts)
    made = {
        one["metadata"]["name"] for kind in ("ConfigMap", "PersistentVolumeClaim") for one in of_kind(objects, kind)
    }
    used = {volume.get("configMap", {}).get("name") for volume in pod["volumes"]}
    used |= {volume.get("persistentVolumeClaim", {}).get("claimName") for volume in pod["volumes"]}
    assert made <= used
    assert pod["serviceAccountName"] == the(objects, "ServiceAccount")["metadata"]["name"]
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
        assert "replicas" not in deployment["spec"]
    for monitor in of_kind(objects, "ServiceMonitor"):
        chosen = [
            service
            for service in of_kind(objects, "Service")
            if monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        ]
        (service,) = chosen
        assert {one["port"] for one in monitor["spec"]["endpoints"]} <= {p["name"] for p in service["spec"]["ports"]}


@each_values
def test_pods_may_do_nothing_that_they_need_not(values: Path) -> None:
    """The profile "restricted" of the Pod Security Standards, and a root that is read-only."""
    pod, container = pod_of(render(values))
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 5000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert not any("hostPath" in volume for volume in pod["volumes"])


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "LoadBalancer"])
def test_only_what_may_have_tls_is_published(kind: str) -> None:
    """The metrics port has none, and stays inside the cluster."""
    services = of_kind(render(SINGLE, "--set", f"service.type={kind}"), "Service")
    ports = {
        service["metadata"]["name"]: (service["spec"]["type"], [port["name"] for port in service["spec"]["ports"]])
        for service in services
    }
    assert ports == {
        "r-ovms": (kind, ["grpc", "rest"]),
        "r-ovms-metrics": ("ClusterIP", ["metrics"]),
        "r-ovms-headless": ("ClusterIP", ["grpc", "rest"]),
    }


@pytest.mark.parametrize("metrics_from", [[], [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]])
def test_a_network_policy_lets_in_only_who_is_named(metrics_from: list[Object]) -> None:
    """A rule without `from` would let in everybody."""
    clients = [{"namespaceSelector": {"matchLabels": {"team": "vision"}}}]
    policy = {"enabled": True, "from": clients, "metricsFrom": metrics_from}
    spec = the(render(SINGLE, "--set-json", f"networkPolicy={json.dumps(policy)}"), "NetworkPolicy")["spec"]
    let_in = [(port["port"], rule["from"]) for rule in spec["ingress"] for port in rule["ports"]]
    expected: list[tuple[str, list[Any]]] = [("grpc", clients), ("rest", clients)]
    assert let_in == expected + ([("metrics", metrics_from)] if metrics_from else [])
    assert spec["policyTypes"] == ["Ingress"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [("single-model", {"grpc": "grpc", "rest": "http"}), ("tls", {"grpc": "https", "rest": "https"})],
)
def test_services_say_what_is_spoken(values: str, expected: dict[str, str]) -> None:
    """To whoever terminates or starts TLS in front of them."""
    for service in of_kind(render(CHART / "ci" / f"{values}-values.yaml"), "Service"):
        spoken = {port["name"]: port["appProtocol"] for port in service["spec"]["ports"]}
        assert spoken in (expected, {"metrics": "http"})


@pytest.mark.parametrize(
    ("version", "policy"), [("1.25", None), ("1.26.9", None), ("1.27", "AlwaysAllow"), ("1.30.4-gke.1", "AlwaysAllow")]
)
def test_a_pod_that_is_not_ready_holds_up_no_drain(version: str, policy: str | None) -> None:
    """Where the cluster knows how to say so."""
    budget = the(render(SINGLE, version=version), "PodDisruptionBudget")
    assert budget["spec"].get("unhealthyPodEvictionPolicy") == policy


def test_a_rollout_may_take_as_long_as_a_large_model() -> None:
    assert the(render(SINGLE), "Deployment")["spec"]["progressDeadlineSeconds"] == 3600
    longer = render(SINGLE, "--set", "progressDeadlineSeconds=7200")
    assert the(longer, "Deployment")["spec"]["progressDeadlineSeconds"] == 7200


def options_of(container: Object) -> dict[str, str]:
    """Of the server, by name."""
    return dict(argument.removeprefix("--").split("=", 1) for argument in container["args"][1:])


@each_values
def test_every_option_is_one_of_the_server(values: Path) -> None:
    _, container = pod_of(render(values))
    known = {option.name for _, options in COMMANDS[container["args"][0]][1] for option in options}
    assert set(options_of(container)) <= known


@pytest.mark.parametrize(
    ("delay", "drain", "grace"), [("0", "0", 5), ("10", "30", 45), ("2.5", "60", 68)], ids=["none", "default", "long"]
)
def test_the_grace_period_is_as_long_as_a_stop_may_take(delay: str, drain: str, grace: int) -> None:
    objects = render(SINGLE, "--set-json", f'shutdown={{"delaySeconds": {delay}, "drainSeconds": {drain}}}')
    pod, container = pod_of(objects)
    assert pod["terminationGracePeriodSeconds"] == grace
    options = options_of(container)
    assert (options["shutdown_delay_seconds"], options["drain_seconds"]) == (delay, drain)
    # Nobody sends a pod anything any more once it has been seen twice not to be ready.
    readiness = container["readinessProbe"]
    if delay == "10":
        assert readiness["periodSeconds"] * readiness["failureThreshold"] < 10


@pytest.mark.parametrize(
    ("size", "expected"), [("10Gi", 8_053_063_680), ("2Ti", 1_649_267_441_664), ("500M", 375_000_000), ("4096", 3072)]
)
def test_downloaded_models_fit_into_the_volume(size: str, expected: int) -> None:
    objects = render(SINGLE, "--set-string", f"cache.size={size}")
    pod, container = pod_of(objects)
    assert pod["volumes"][0]["emptyDir"]["sizeLimit"] == size
    assert int(options_of(container)["model_cache_bytes"]) == expected


def config_map_and_volume(*options: str) -> tuple[Object, str]:
    """The ConfigMap of the list of models, and the name of the one that pods mount."""
    objects = render(CHART / "ci" / "config-map-values.yaml", *options)
    (volume,) = [one for one in pod_of(objects)[0]["volumes"] if one["name"] == "config"]
    return the(objects, "ConfigMap"), volume["configMap"]["name"]


def test_old_pods_keep_their_list_where_another_one_restarts_pods() -> None:
    """It has another name, so no ConfigMap that is mounted changes."""
    another = ("--set-json", 'models=[{"config": {"name": "late", "base_path": "/models/late"}}]')
    restarting = ("--set", "restartOnConfigChange=true")
    old, again, new = (config_map_and_volume(*restarting, *more) for more in ((), ("--set", "replicaCount=3"), another))
    assert old == again
    assert old[0]["data"] != new[0]["data"]
    assert old[0]["metadata"]["name"] != new[0]["metadata"]["name"]
    for config_map, mounted in (old, new):
        assert mounted == config_map["metadata"]["name"]
        assert config_map["immutable"] is True
    followed, followed_too = config_map_and_volume(), config_map_and_volume(*another)
    assert followed[1] == followed_too[1] == followed_too[0]["metadata"]["name"]
    assert "immutable" not in followed[0]


def test_a_model_has_its_options() -> None:
    """As they are written: large numbers, text that looks like numbers, lists."""
    given = {"max_queue": 20_000_000, "shape": "(1,3)", "mean": [1.5, 2], "ready_file": True, "layout": {"x": "NHWC"}}
    _, container = pod_of(render(SINGLE, "--set-json", f"model.options={json.dumps(given)}"))
    options = options_of(container)
    assert options["max_queue"] == "20000000"
    assert options["shape"] == "(1,3)"
    assert json.loads(options["mean"]) == [1.5, 2]
    assert options["ready_file"] == "true"
    assert json.loads(options["layout"]) == {"x": "NHWC"}


@pytest.mark.parametrize("name", HELMS)
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": None}, "what is served: expected one of"),
        ({"model": {"name": "m"}}, "model.name and model.path are needed both"),
        ({"models": [{"config": {"name": "m", "base_path": "/m"}}]}, "got model, models"),
        ({"replicas": 3}, "replicas"),
        ({"ports": {"grpc": 70_000}}, "grpc"),
        ({"service": {"type": "ClusterIp"}}, "type"),
        ({"shutdown": {"drainSeconds": -1}}, "drainSeconds"),
        ({"resources": {"requests": {"memory": "1 GB"}}}, "memory"),
        ({"options": {"port": 9001}}, 'options: the chart sets "port" itself'),
        ({"tls": {"clientCaSecretName": "t"}}, "expected tls.secretName as well"),
        ({"cache": {"size": "much"}}, "size"),
        ({"apiKeys": {"secretName": "k"}, "serviceMonitor": {"enabled": True}}, "Prometheus needs a key"),
        ({"ports": {"rest": 9000}}, "ports: expected three different ones"),
        ({"networkPolicy": {"enabled": True, "metricsFrom": [{"podSelector": {}}]}}, "for whom?"),
        ({"autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 4}}, "minReplicas is larger"),
        ({"autoscaling": {"enabled": True, "cpuUtilization": 0}}, "by what?"),
        ({"autoscaling": {"enabled": True}, "resources": {"requests": None}}, "needs resources.requests.cpu"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_values_that_cannot_be_meant(tmp_path: Path, name: str, changes: Any, said: str) -> None:
    values = tmp_path / "values.json"
    base = {"model": {"name": "m", "path": "/models/m"}} | changes
    if base["model"] is None:
        del base["model"]
    elif "path" not in base["model"]:
        base["model"] = {"name": "m", "path": ""}
    values.write_text(json.dumps(base))
    done = helm(name, "template", "r", str(CHART), "--values", str(values))
    assert done.returncode != 0
    assert said in done.stderr


def test_every_value_is_described_and_documented() -> None:
    """In the schema, and beside it in values.yaml."""
    yaml = pytest.importorskip("yaml")
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(defaults) == set(schema["properties"]) - {"global"}

    def compare(values: Object, described: Object, place: str) -> None:
        described = schema["definitions"][described["$ref"].rpartition("/")[2]] if "$ref" in described else described
        if described.get("additionalProperties") is False:
            assert set(values) <= set(described["properties"]), place
            for key, value in values.items():
                if isinstance(value, dict):
                    compare(value, described["properties"][key], f"{place}/{key}")

    compare(defaults, schema, "")


def test_the_chart_is_of_this_version() -> None:
    yaml = pytest.importorskip("yaml")
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == ovms.__version__
    assert chart["kubeVersion"] == f">={VERSIONS[0]}.0-0"
    for file in (ROOT / "deploy" / "kserve").glob("*runtime.yaml"):
        assert f"image: ovms:{ovms.__version__}" in file.read_text()
