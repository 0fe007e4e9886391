"""Manifests have the form that the APIs ask for, keep every argument, and stay as they were reviewed."""

import copy
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from dlcore.launch.jobset import GPU, LONGEST_NAME, TPU, Job, Nodes, escape, jobset, to_yaml
from dlcore.launch.volume import Volume
from tests.helpers.kubernetes_schemas import check_job, check_jobset, expand

COMMAND = ["python", "-m", "experiments.digits", "--run=first", "--config.seed=3"]
GKE_TPU = {
    "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
    "cloud.google.com/gke-tpu-topology": "4x4",
}
JOBS = {
    "gpu": Job(
        "digits-first",
        "team",
        "registry.example/dlcore:1",
        COMMAND,
        Nodes(
            2,
            GPU,
            8,
            {"cpu": "96", "memory": "1Ti"},
            {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"},
        ),
        Volume(claim="runs"),
        queue="research",
        max_restarts=10,
    ),
    "tpu": Job(
        "digits-first",
        "default",
        "dlcore",
        COMMAND,
        Nodes(4, TPU, 4, {}, GKE_TPU),
        Volume("", "10.0.0.2", "/runs"),
    ),
    "cpu": Job(
        "digits-first", "default", "dlcore", COMMAND, Nodes(1), Volume(path="/mnt/runs"), max_restarts=3
    ),
    "bucket": Job(
        "digits-first",
        "default",
        "dlcore",
        [*COMMAND, "--config.checkpoint.folder=gs://bucket/first"],
        Nodes(1, TPU, 8, {}, GKE_TPU | {"cloud.google.com/gke-tpu-topology": "2x4"}),
        None,
    ),
}
GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", JOBS)
def test_the_manifest_is_the_reviewed_one(name):
    assert to_yaml(jobset(JOBS[name])) == (GOLDEN / f"{name}.yaml").read_text()


@pytest.mark.parametrize("name", JOBS)
def test_manifests_have_the_form_of_the_jobset_api(name):
    check_jobset(yaml.safe_load(to_yaml(jobset(JOBS[name]))))


@pytest.mark.parametrize("version", ["1.31", "1.37"])
@pytest.mark.parametrize("name", JOBS)
def test_their_jobs_have_the_form_of_the_kubernetes_api(name, version):
    check_job(yaml.safe_load(to_yaml(jobset(JOBS[name]))), version)


def places(value, path=()):
    """The path of every dict in a manifest."""
    if isinstance(value, dict):
        yield path
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


FREE = ("labels", "annotations", "nodeSelector", "limits", "requests")  # any key may stand in these


@pytest.mark.parametrize(
    "path", [path for path in places(jobset(JOBS["gpu"])) if not path or path[-1] not in FREE], ids=str
)
def test_a_field_that_the_api_does_not_know_is_found(path):
    manifest = copy.deepcopy(jobset(JOBS["gpu"]))
    place = manifest
    for key in path:
        place = place[key]
    place["unknown"] = 1
    with pytest.raises(pytest.importorskip("jsonschema").ValidationError, match="unknown"):
        check_jobset(manifest)


def test_a_rule_without_a_name_is_found():
    manifest = jobset(JOBS["gpu"])
    del manifest["spec"]["failurePolicy"]["rules"][0]["name"]
    with pytest.raises(
        pytest.importorskip("jsonschema").ValidationError, match="'name' is a required property"
    ):
        check_jobset(manifest)


# A controller's words for the end of a Job, and what must follow.
POD = "pod default/d-nodes-0-1-x2x4s"
MESSAGES = [
    (f"Container experiment for {POD} failed with exit code 75 matching FailJob rule at index 0", "free"),
    (f"P{POD[1:]} has condition DisruptionTarget matching FailJob rule at index 1", "free"),
    (f"Container experiment for {POD} failed with exit code 1 matching FailJob rule at index 2", "end"),
    (f"Container experiment for {POD} failed with exit code 2 matching FailJob rule at index 2", "end"),
    ("Job has reached the specified backoff limit", "counted"),
]


@pytest.mark.parametrize(("message", "expected"), MESSAGES)
def test_the_exit_code_says_whether_the_job_starts_again(message, expected):
    """The first rule with a pattern in the message counts; without one, a restart counts."""
    actions = {"RestartJobSetAndIgnoreMaxRestarts": "free", "FailJobSet": "end"}
    rules = jobset(JOBS["gpu"])["spec"]["failurePolicy"]["rules"]
    assert all(re.fullmatch("[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", rule["name"]) for rule in rules)
    matching = [
        rule
        for rule in rules
        if any(re.search(pattern, message) for pattern in rule["onJobFailureMessagePatterns"])
    ]
    assert (actions[matching[0]["action"]] if matching else "counted") == expected


def test_the_rules_for_exit_codes_name_the_container():
    manifest = jobset(JOBS["gpu"])
    job = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    codes = [rule["onExitCodes"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    assert [code["values"] for code in codes] == [[75], [1, 2]]
    assert {code["containerName"] for code in codes} == {container["name"]}


def test_no_name_of_a_pod_is_too_long():
    manifest = jobset(JOBS["gpu"])
    group = manifest["spec"]["replicatedJobs"][0]["name"]
    for nodes in (1, 10, 11, 4096):
        name = "x" * (LONGEST_NAME - len(str(nodes - 1)))
        assert len(f"{name}-{group}-0-{nodes - 1}-abcde") == 63


NASTY = [
    *(
        "a b",
        "'",
        '"',
        "\\",
        ";",
        "$(HOME)",
        "$$(HOME)",
        "$",
        "$$",
        "a$",
        "$(",
        "`id`",
        "a\nb",
        "\n",
        "\t",
        "\r\n",
    ),
    *(
        "",
        " ",
        "y",
        "n",
        "no",
        "1e3",
        "0x1f",
        "1_000",
        "010",
        "1:30",
        "~",
        "null",
        "-3",
        "*",
        "&a",
        "!b",
        "# c",
    ),
    *(
        "- a",
        "a: b",
        "{a}",
        "[a]",
        "|",
        ">",
        "%",
        "@",
        "---",
        "...",
        "<<",
        "=",
        "ü€😀",
        "\x01\x7f\u0085\u2028\ufeff",
    ),
    "a " * 200,
]
NASTY_JOB = Job("a", "b", "c", ["python", *NASTY], Nodes(1), None)


def arguments(manifest):
    """What the container gets."""
    job = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    return [expand(argument) for argument in container["command"]]


def test_every_argument_is_quoted_so_that_no_reader_of_yaml_takes_it_for_something_else():
    text = to_yaml(jobset(NASTY_JOB))
    assert text.isascii()
    assert arguments(yaml.safe_load(text)) == ["python", *NASTY]


def test_kubectl_reads_every_argument_byte_for_byte():
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    label = ["kubectl", "label", "--local", "--filename=-", "--output=json", "a=b"]  # needs no cluster
    text = to_yaml(jobset(NASTY_JOB))
    labeled = subprocess.run(label, input=text, capture_output=True, text=True, check=True)
    assert arguments(json.loads(labeled.stdout)) == ["python", *NASTY]


def test_without_the_escape_a_reference_would_be_replaced():
    assert expand("--x=$(HOME)") != "--x=$(HOME)"
    assert expand(escape("--x=$(HOME)")) == "--x=$(HOME)"
