"""What docs/kubernetes.md tells to type works, as far as it can be done without a cluster."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from charts import CHART, ROOT, VALUES, VERSIONS, helm, needs_schemas
from members import HAPROXY, NGINX
from repository import until
from server_under_test import free_port

from ovms.config.command_line import COMMANDS

PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
COMMANDS_TYPED = [
    line.removeprefix("$ ")
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]


def typed(program: str) -> list[str]:
    return [line for line in COMMANDS_TYPED if line.split()[0] == program]


def test_every_command_is_tried_here() -> None:
    tried = [line for program in ("helm", "kubectl", "haproxy", "nginx", "ovms", "export") for line in typed(program)]
    assert sorted(tried) == sorted(COMMANDS_TYPED)
    assert len(tried) >= 8


@needs_schemas
@pytest.mark.parametrize("line", typed("helm"))
def test_helm(line: str) -> None:
    """Rendered instead of installed."""
    import kubernetes_validate
    import yaml

    words = [str(ROOT / word) if word.startswith("deploy/") else word for word in shlex.split(line)[1:]]
    words = [word for word in words if word not in ("install", "upgrade", "--install")]
    done = helm("helm4", "template", *words)
    assert done.returncode == 0, done.stderr
    for one in yaml.safe_load_all(done.stdout):
        if one and one["kind"] != "ServiceMonitor":
            kubernetes_validate.validate(one, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("line", typed("kubectl"))
def test_kubectl(line: str) -> None:
    """The file is there; test_kserve holds it against schemas."""
    assert (ROOT / line.split("-f ")[1]).is_file()


@pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not installed: apt-get install haproxy")
def test_haproxy(tmp_path: Path) -> None:
    """With the variables that are set before it, and by its defaults."""
    (check,) = [line for line in typed("haproxy") if " -c " in line]
    (exports,) = typed("export")
    variables = dict(word.split("=", 1) for word in exports.split()[1:])
    assert variables
    text = (ROOT / "deploy" / "balancer" / "haproxy.cfg").read_text()
    for name, value in variables.items():
        assert f'"${{{name}-{value}}}"' in text
    for environment in (variables, {}):
        done = subprocess.run(
            [str(HAPROXY), *check.split()[1:]],
            cwd=ROOT, env=environment | {"BALANCER_SOCKET": str(tmp_path / "s")}, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light")
def test_nginx(tmp_path: Path) -> None:
    """It starts, and reads its file again, by the lines that the page gives, at the path that they have."""
    start, reload = typed("nginx")
    place = start.split()[2]
    text = (ROOT / "deploy" / "balancer" / "nginx.conf").read_text()
    pid, file, log = (tmp_path / f"nginx.{end}" for end in ("pid", "conf", "log"))
    for old, new in (
        ("/run/nginx.pid", str(pid)),
        ("listen 9000", f"listen 127.0.0.1:{free_port()}"),
        ("listen 8000", f"listen 127.0.0.1:{free_port()}"),
        ("worker_processes auto", "worker_processes 1"),
    ):
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)

    def run(line: str) -> None:
        assert place in line
        words = line.replace(place, str(file)).split()[1:]
        with log.open("a") as output:  # not a pipe: the nginx that stays has it open
            done = subprocess.run([str(NGINX), *words], stderr=output, timeout=60, check=False)
        assert done.returncode == 0, log.read_text()

    def workers() -> set[str]:
        main = pid.read_text().strip()
        return set(Path(f"/proc/{main}/task/{main}/children").read_text().split())

    run(start)
    try:
        until(lambda: pid.exists() and len(pid.read_text()) > 1 and len(workers()) == 1, log.read_text)
        before = workers()
        run(reload)
        until(lambda: len(workers()) == 1 and not workers() & before, log.read_text)
    finally:
        run(f"{start} -s stop")
        until(lambda: not pid.exists(), log.read_text)


@pytest.mark.parametrize("line", typed("ovms"))
def test_ovms(line: str) -> None:
    """Its options are the server's."""
    _, command, *words = line.split()
    known = {option.flag for _, options in COMMANDS[command][1] for option in options}
    assert {word for word in words if word.startswith("--")} <= known


def test_blocks_of_values() -> None:
    blocks = [block for block in re.findall(r" *```yaml\n(.*?)```", PAGE, re.DOTALL) if "seriesQuery" not in block]
    assert len(blocks) >= 2
    yaml = pytest.importorskip("yaml")
    for block in blocks:
        values = json.dumps(yaml.safe_load(block))
        chosen = [f"{key}={json.dumps(value)}" for key, value in json.loads(values).items()]
        done = helm("helm4", "template", "r", str(CHART), *(word for one in chosen for word in ("--set-json", one)))
        assert done.returncode == 0, done.stderr


def test_every_file_of_values_and_every_value_that_is_named() -> None:
    for file in VALUES:
        assert f"](../deploy/ovms/ci/{file.name})" in PAGE
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
    yaml = pytest.importorskip("yaml")
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    tops = "|".join(defaults)
    named = set(re.findall(rf"`((?:{tops})\.[A-Za-z.]+)", PAGE))
    assert len(named) > 10
    for name in named:
        place = defaults
        for key in name.split("."):
            assert key in place, name
            place = place[key]
