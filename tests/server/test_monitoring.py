"""``/metrics`` as Prometheus reads it, and what is written about it: the documentation, the dashboard, the alerts."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grpc_engines import NATIVE_ONLY
from monitored import Family, Monitored, monitored
from promql import mistakes
from repository import until
from server_under_test import ROOT

DASHBOARD = json.loads((ROOT / "deploy/grafana/ovms.json").read_text())
RULES = yaml.safe_load((ROOT / "deploy/prometheus/ovms.rules.yaml").read_text())["groups"][0]["rules"]
DOCUMENTED = re.compile(r"^\| `((?:ovms|process)_\w+)` \| (counter|gauge|histogram) \|(.*?)\| (.+) \|$", re.MULTILINE)
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

pytestmark = NATIVE_ONLY


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    with monitored(tmp_path_factory.mktemp("monitored")) as made:
        yield made


@pytest.fixture(scope="module")
def families(server: Monitored) -> dict[str, Family]:
    return server.families()


@pytest.fixture(scope="module")
def exposed(families: dict[str, Family]) -> dict[str, set[str]]:
    """The labels of each name that a sample has."""
    labels: dict[str, set[str]] = {}
    for family in families.values():
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def test_each_metric_is_told_of_once_and_no_sample_is_there_twice(server: Monitored) -> None:
    lines = server.text().splitlines()
    for word in ("HELP", "TYPE"):
        names = [line.split()[2] for line in lines if line.startswith(f"# {word} ")]
        assert len(names) == len(set(names)) > 30
    samples = [line.rpartition(" ")[0] for line in lines if not line.startswith("#")]
    assert len(samples) == len(set(samples))


def test_metrics_have_the_form_of_their_kind(families: dict[str, Family]) -> None:
    for name, family in families.items():
        assert family.type in ("counter", "gauge", "histogram"), name
        assert family.documentation.endswith("."), name
        for sample in family.samples:
            assert sample.value >= 0 or family.type == "gauge", sample
            expected = {f"{name}_bucket", f"{name}_sum", f"{name}_count"} if family.type == "histogram" else {name}
            assert sample.name in expected


def test_histograms_never_fall_and_end_at_their_count(families: dict[str, Family]) -> None:
    seen = 0
    for name, family in families.items():
        rows: dict[frozenset[Any], dict[str, float]] = {}
        for sample in family.samples if family.type == "histogram" else ():
            labels = {key: value for key, value in sample.labels.items() if key != "le"}
            rows.setdefault(frozenset(labels.items()), {})[sample.labels.get("le", sample.name)] = sample.value
        for row in rows.values():
            total, count = row.pop(f"{name}_sum"), row.pop(f"{name}_count")
            bounds = [float(bound) for bound in row]
            assert bounds == sorted(bounds)
            assert bounds[-1] == float("inf")
            values = list(row.values())
            assert values == sorted(values)
            assert values[-1] == count
            assert (total > 0) == (count > 0)
            seen += 1
    assert seen > 8


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("ovms_requests_success", {"name": "m", "interface": "gRPC", "method": "Predict"}, 4),
        ("ovms_requests_by_code", {"name": "m", "code": "INVALID_ARGUMENT"}, 1),
        ("ovms_requests_success", {"name": "m", "interface": "REST", "method": "Predict"}, 1),
        ("ovms_model_loads_total", {"name": "m", "result": "success"}, 1),
        ("ovms_model_loads_total", {"name": "other", "result": "success"}, 1),
        ("ovms_model_load_seconds_count", {"name": "other"}, 1),
        ("ovms_model_unloads_total", {"name": "other", "result": "success"}, 1),
        ("ovms_model_unloads_total", {"name": "other", "result": "error"}, 0),
        ("ovms_model_state", {"name": "m", "version": "1", "state": "AVAILABLE"}, 1),
        ("ovms_model_state", {"name": "m", "version": "1", "state": "LOADING"}, 0),
        ("ovms_model_state", {"name": "m", "version": "2", "state": "LOADING"}, 1),
        ("ovms_model_state", {"name": "other"}, 0),
        ("ovms_model_error", {"name": "m", "version": "1"}, 0),
        ("ovms_model_error", {"name": "m", "version": "2"}, 1),
        ("ovms_compiled_shape_hits_total", {"name": "m", "version": "1"}, 3),
        ("ovms_config_reloads_total", {"result": "error"}, 1),
        ("ovms_tls_failures_total", {"interface": "gRPC"}, 1),
        ("ovms_build_info", {"grpc": "native", "rest": "native"}, 1),
    ],
)
def test_what_has_happened_is_counted(server: Monitored, name: str, labels: dict[str, str], value: float) -> None:
    assert server.value(name, **labels) == value, server.text()


def test_a_model_without_any_version_is_told_of(server: Monitored) -> None:
    def available() -> dict[str, float]:
        samples = server.families()["ovms_model_available_versions"].samples
        return {sample.labels["name"]: sample.value for sample in samples}

    until(lambda: available() == {"m": 1, "nothing": 0}, server.text)
    assert server.value("ovms_model_state", name="nothing") == 0
    (rule,) = (rule for rule in RULES if rule["alert"] == "OvmsModelNotAvailable")
    assert re.search(r"\(ovms_model_available_versions\) == 0$", rule["expr"])  # a state of no version is no series


def test_what_grows(server: Monitored) -> None:
    assert server.value("ovms_model_loads_total", name="m", result="error") >= 1
    assert server.value("ovms_repository_polls_total", store="local", result="success") >= 2
    assert server.value("ovms_config_reloads_total", result="success") >= 1
    assert server.value("ovms_model_compilations_total", name="m") >= 2


def test_times_are_of_now(server: Monitored) -> None:
    now = time.time()
    for name, labels in {
        "process_start_time_seconds": {},
        "ovms_model_last_load_timestamp_seconds": {"name": "m", "result": "success"},
        "ovms_repository_last_poll_timestamp_seconds": {"store": "local", "result": "success"},
        "ovms_config_last_reload_timestamp_seconds": {"result": "error"},
    }.items():
        assert now - 600 < server.value(name, **labels) <= now + 1, name
    assert now + 86400 < server.value("ovms_tls_certificate_expiry_timestamp_seconds") < now + 3 * 86400


def test_the_process_is_that_of_the_server(server: Monitored) -> None:
    process = server.server.process.pid
    opened = len(list(Path(f"/proc/{process}/fd").iterdir()))
    assert abs(server.value("process_open_fds") - opened) < 10
    assert server.value("process_max_fds") >= opened
    assert server.value("process_virtual_memory_bytes") > server.value("process_resident_memory_bytes") > 1e7
    assert server.value("process_threads") > 4
    assert server.value("process_cpu_seconds_total") == pytest.approx(server.server.cpu_seconds(), abs=0.5)


def test_what_is_documented_is_what_is_there(families: dict[str, Family], exposed: dict[str, set[str]]) -> None:
    rows = DOCUMENTED.findall((ROOT / "docs/monitoring.md").read_text())
    assert sorted(row[0] for row in rows) == sorted(families)
    for name, kind, labels, _ in rows:
        assert families[name].type == kind, name
        sampled = exposed[f"{name}_count" if kind == "histogram" else name]
        assert set(re.findall(r"`(\w+)`", labels)) == sampled, name


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_is_there(exposed: dict[str, set[str]], panel: dict[str, Any]) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        expression = target["expr"].replace("$__rate_interval", "5m")
        assert mistakes(expression, exposed) == []
        assert 'job=~"$job"' in expression
        legend = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        grouped = re.search(r"by \(([\w, ]+)\)", expression)
        assert legend <= ({*grouped[1].split(", ")} if grouped else {"instance"}), target


def test_a_wrong_expression_would_be_found(exposed: dict[str, set[str]]) -> None:
    for wrong in ("ovms_nothing", 'ovms_streams{code="OK"}', "sum by (reason) (rate(ovms_requests_fail[5m]))"):
        assert mistakes(wrong, exposed), wrong


def test_the_dashboard_is_what_grafana_imports() -> None:
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time", "annotations"} <= set(DASHBOARD)
    assert DASHBOARD["id"] is None  # else it would take the place of another one
    assert DASHBOARD["schemaVersion"] >= 36
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert "allValue" not in variables["job"]  # all jobs of this server, not all that have process_* metrics
    assert list(variables) == ["datasource", "job", "model"]
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
    source = {"type": "prometheus", "uid": "${datasource}"}
    for one in (variables["job"], variables["model"], *PANELS, *(t for panel in PANELS for t in panel["targets"])):
        assert one["datasource"] == source
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert not cells & taken, panel["title"]
        taken |= cells
    needed = {panel["type"] for panel in PANELS}
    assert needed == {one["id"] for one in DASHBOARD["__requires"] if one["type"] == "panel"}


def test_variables_ask_for_what_is_there(exposed: dict[str, set[str]]) -> None:
    for variable in DASHBOARD["templating"]["list"][1:]:
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        assert found
        assert mistakes(found[1], exposed) == []
        assert found[2] in exposed[found[1].partition("{")[0]] | {"job"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_is_there(exposed: dict[str, set[str]], rule: dict[str, Any]) -> None:
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    assert mistakes(rule["expr"], exposed) == []
    assert not re.search(r"\bjob\s*[=!]", rule["expr"])  # whatever somebody calls it
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert re.fullmatch(r"\d+[mh]", rule["for"])
    told = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    grouped = re.search(r"by \(([\w, ]+)\)", rule["expr"])
    assert told <= ({*grouped[1].split(", ")} if grouped else {"instance", "job"})


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_own_tool_agrees(server: Monitored) -> None:
    rules = ROOT / "deploy/prometheus/ovms.rules.yaml"
    checked = subprocess.run(["promtool", "check", "rules", str(rules)], capture_output=True, text=True, check=True)
    assert f"SUCCESS: {len(RULES)} rules found" in checked.stdout
    checked = subprocess.run(["promtool", "check", "metrics"], input=server.text(), capture_output=True, text=True)
    assert checked.returncode in (0, 3), checked.stderr  # 1: it cannot be read; 3: it has advice
    # The names that C++ OVMS has given are not what it would have.
    unusual = {line.partition(" ")[0] for line in checked.stderr.splitlines()}
    assert {name for name in unusual if not re.fullmatch(r"ovms_requests_\w+|ovms_\w+_time_us", name)} == set()
