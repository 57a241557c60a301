"""The tools with which packaging is tested, and the manifests as they are rendered.

Owns how tools are found and installed. Knows nothing of srsync but where its manifests are.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
KUBERNETES = SOURCE / "packaging/kubernetes"
# What pip installs, by exact version: a test that passes today passes tomorrow.
PYTHON = ("PyYAML==6.0.3", "kubernetes-validate==1.37.0", "helm-python-sdk==0.2.2", "jsonschema==4.26.0")


def need(**packages):
    """Programs with the Debian packages that have them; those that are missing are installed."""
    missing = [package for program, package in packages.items() if not shutil.which(program)]
    if missing:
        subprocess.run(["apt-get", "update", "-q"], check=True, stdout=sys.stderr)
        command = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing]
        subprocess.run(command, check=True, stdout=sys.stderr)


def need_python():
    """Goes on in a Python that has the packages: made once, beside what other tests have made."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    wanted = " ".join(PYTHON)
    home = cache / "srsync" / "packaging-python"
    if Path(sys.prefix) == home:
        return
    mark = home / "complete"
    if not mark.exists() or mark.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        # Whatever Python this is, also one inside of another environment.
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([home / "bin/pip", "install", "-q", *PYTHON], check=True, stdout=sys.stderr)
        mark.write_text(wanted)
    os.execv(home / "bin/python", [str(home / "bin/python"), *sys.argv])


def need_kubectl():
    need(kubectl="kubernetes-client")
    said = subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True, text=True).stdout
    version = re.search(r'"gitVersion": "v(\d+)\.(\d+)', said)
    if not version or tuple(map(int, version.groups())) < (1, 21):
        sys.exit(f"kubectl 1.21 or newer is needed, whose kustomize knows components: {said.strip()}")


def program(arguments):
    """The program under test: the one that is named, or that of the image, which talks to Kubernetes."""
    if arguments:
        return Path(arguments[0]).resolve()
    command = [SOURCE / "packaging/container/build", "--program"]
    built = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return (SOURCE / built.strip()).resolve()


def kustomize(folder):
    """What `kubectl apply -k` would apply, and what was said about it."""
    ran = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)
    assert ran.returncode == 0, f"{folder}: {ran.stderr}"
    return ran.stdout, ran.stderr


def objects(text):
    import yaml

    return [document for document in yaml.safe_load_all(text) if document]


def overlay(name):
    return objects(kustomize(KUBERNETES / "overlays" / name)[0])


def only(objects, kind):
    found = [item for item in objects if item["kind"] == kind]
    assert len(found) == 1, f"{len(found)} of {kind}"
    return found[0]


def config_map(objects, prefix):
    """The data of the ConfigMap whose name begins so, without the hash."""
    maps = [item for item in objects if item["kind"] == "ConfigMap"]
    found = [item["data"] for item in maps if re.fullmatch(rf"{prefix}(-[a-z0-9]{{10}})?", item["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} ConfigMaps {prefix}"
    return found[0]


def equal(found, expected, what="found"):
    assert found == expected, f"{what}: {found!r}, not {expected!r}"


def run_checks(checks, *args):
    """Does them in their order, goes on after a failure, and returns whether all passed."""
    import traceback

    failed = 0
    for function in checks:
        name = function.__name__.replace("_", " ")
        try:
            function(*args)
        except Exception:
            failed += 1
            print(f"FAIL  {name}\n{traceback.format_exc()}", flush=True)
        else:
            print(f"ok    {name}", flush=True)
    print(f"{len(checks) - failed} passed, {failed} failed")
    return failed == 0
