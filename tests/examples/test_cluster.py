"""The examples for clusters: the program alone, Slurm's script with stand-ins for Slurm, manifests against schemas."""

import os
import pathlib
import re
import signal
import subprocess
import sys

import keras
import kubernetes_validate
import numpy as np
import pytest
import yaml

from examples.cluster import search
from keras_hyperens.search.candidate import STAGES
from keras_hyperens.search.distributed.processes import _is_free
from tests.limit import LIMIT

CLUSTER = pathlib.Path(search.__file__).parent
LITTLE = ["--trials", "2", "--initializations", "1", "--ensemble-size", "2", "--epochs", "1"]
STAND_INS = {
    "scontrol": '[[ $* == "show hostnames node[1-2]" ]] && printf "127.0.0.1\\nnode2\\n"',
    "srun": """
while [[ $1 == --* ]]; do shift; done
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
for ((rank = 0; rank < SLURM_NTASKS; rank++)); do SLURM_PROCID=$rank "$@" & done
for ((rank = 0; rank < SLURM_NTASKS; rank++)); do wait -n; done
""",
}


@pytest.mark.integration
def test_the_program_alone(tmp_path, capsys):
    search.main([*LITTLE, "--directory", str(tmp_path)])
    assert re.search(r"test: accuracy 0\.\d+", capsys.readouterr().out)
    ensemble = keras.models.load_model(tmp_path / "digits" / "ensemble.keras")
    (_, _), (x, _) = search.load("digits", None)
    np.testing.assert_allclose(ensemble.predict(x, verbose=0).sum(-1), 1, rtol=1e-5)


def job_with_free_ports():
    """The number of a job to which the script gives ports that nobody listens on."""
    return next(job for job in range(os.getpid(), 2**31) if all(map(_is_free, ports_of(job))))


def ports_of(job):
    return [10000 + 3 * (job % 7000) + stage for stage in range(len(STAGES))]


@pytest.mark.integration
def test_slurm_script_starts_one_chief_and_its_workers(tmp_path):
    for name, body in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\nset -euo pipefail\n{body}")
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(CLUSTER.parent.parent),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_ID": str(job_with_free_ports()),
        "SLURM_NTASKS": "3",
    }
    process = subprocess.Popen(
        ["bash", "slurm.sh", *LITTLE, "--directory", str(tmp_path / "runs")],
        cwd=CLUSTER,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=LIMIT)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, errors[-3000:]
    assert output.count("test: ") == output.count("ensemble: ") == 1  # the chief's
    assert keras.models.load_model(tmp_path / "runs" / "digits" / "ensemble.keras").ensemble_size == 2


def test_slurm_script_is_good_bash_with_options_that_exist():
    script = CLUSTER / "slurm.sh"
    shellcheck = pathlib.Path(sys.executable).parent / "shellcheck"
    subprocess.run([shellcheck, script], check=True)
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", script.read_text(), re.M))
    assert len(options) == script.read_text().count("#SBATCH")
    # What `sbatch --help` of Slurm 22.05 lists, as far as it is used here, and what its values look like.
    known = {
        "job-name": r"[\w-]+",
        "ntasks": r"\d+",
        "cpus-per-task": r"\d+",
        "mem-per-cpu": r"\d+[KMGT]",
        "time": r"\d\d:\d\d:\d\d",
        "requeue": "",
        "open-mode": "append|truncate",
        "output": r"[\w%.-]+",
    }
    for name, value in options.items():
        assert re.fullmatch(known[name], value), f"--{name}={value}"


@pytest.fixture(scope="module")
def manifests():
    return {each["kind"]: each for each in yaml.safe_load_all((CLUSTER / "kubernetes.yaml").read_text())}


@pytest.mark.parametrize("version", ["1.29", "1.32", None])
def test_manifests_are_kubernetes(version, manifests):
    assert set(manifests) == {"Service", "PersistentVolumeClaim", "Job"}
    for manifest in manifests.values():
        kubernetes_validate.validate(manifest, version or kubernetes_validate.latest_version(), strict=True)


def test_manifests_fit_together(manifests):
    service, claim, job = manifests["Service"], manifests["PersistentVolumeClaim"], manifests["Job"]
    pod = job["spec"]["template"]["spec"]
    assert service["spec"]["clusterIP"] == "None"  # a string: the name of a headless service's address
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
    environment = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    assert environment["KERASTUNER_ORACLE_IP"] == f"{job['metadata']['name']}-0.{pod['subdomain']}"
    first = int(environment["KERASTUNER_ORACLE_PORT"])
    ports = {each["name"]: each["port"] for each in service["spec"]["ports"]}
    assert ports == {stage: first + number for number, stage in enumerate(STAGES)}
    assert job["spec"]["completions"] == job["spec"]["parallelism"]  # all at once: the chief waits for nobody
    assert pod["volumes"][1]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


@pytest.mark.parametrize(
    ("index", "expected"), [(0, "chief 0.0.0.0 8000"), (3, "worker3 hyper-deep-search-0.hyper-deep-search 8000")]
)
def test_pods_know_who_they_are(index, expected, manifests, tmp_path):
    (container,) = manifests["Job"]["spec"]["template"]["spec"]["containers"]
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho $KERASTUNER_TUNER_ID $KERASTUNER_ORACLE_IP $KERASTUNER_ORACLE_PORT "$@"\n')
    python.chmod(0o755)
    environment = {each["name"]: each["value"] for each in container["env"]}
    environment |= {"JOB_COMPLETION_INDEX": str(index), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    run = subprocess.run(container["command"] + container["args"], env=environment, capture_output=True, text=True)
    assert run.stdout.strip() == f"{expected} search.py --directory /runs"
    search.parser().parse_args(["--directory", "/runs"])
