"""The chart as Helm renders it, and the files of values that it documents."""

import importlib.util
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "deploy" / "ovms"
VALUES: Final = sorted((CHART / "ci").glob("*-values.yaml"))

VERSIONS: Final = ("1.25", "1.37")
"""The oldest Kubernetes that the chart allows, and the newest one whose schemas there are."""

HELMS: Final = ("helm3", "helm4")
MISSING: Final = "is not installed: make chart-tools"

Object = dict[str, Any]

needs_schemas = pytest.mark.skipif(
    importlib.util.find_spec("kubernetes_validate") is None, reason=f"kubernetes-validate {MISSING}"
)


def helm(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Helm 3 or 4; skips the test where it is not installed."""
    program = shutil.which(name, path=f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}")
    if program is None:
        pytest.skip(f"{name} {MISSING}")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


def render(values: Path | None, *options: str, name: str = "helm4", version: str = VERSIONS[-1]) -> list[Object]:
    """The objects of a release ``r`` in the namespace ``n``."""
    yaml = pytest.importorskip("yaml", reason=f"PyYAML {MISSING}")
    chosen = ["--values", str(values)] if values else []
    done = helm(name, "template", "r", str(CHART), "--namespace", "n", "--kube-version", version, *chosen, *options)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [one for one in objects if one["kind"] == kind]


def the(objects: list[Object], kind: str) -> Object:
    (only,) = of_kind(objects, kind)
    return only


def pod_of(objects: list[Object]) -> tuple[Object, Object]:
    """The Deployment's pod specification, and its only container."""
    pod = the(objects, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container
