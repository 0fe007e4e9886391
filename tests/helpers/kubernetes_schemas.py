"""Checks manifests against the published schemas, in which unknown fields are errors at every level."""

import copy
import functools
from typing import Any

import pytest


def check_jobset(manifest: dict[str, Any]) -> None:
    """Checks a JobSet against the API of the JobSet project, as kubeflow-trainer-api publishes it.

    Raises:
        jsonschema.ValidationError: it does not have the form of the API.
    """
    exceptions = pytest.importorskip("jsonschema.exceptions", reason="jsonschema is not installed")
    error = exceptions.best_match(jobset_validator().iter_errors(manifest))
    if error is not None:
        raise error


@functools.cache
def jobset_validator() -> Any:
    name = "kubeflow_trainer_api.models.jobset_v1alpha2_job_set"
    model = pytest.importorskip(name, reason="kubeflow-trainer-api is not installed").JobsetV1alpha2JobSet
    schema = model.model_json_schema(by_alias=True)
    for each in (schema, *schema["$defs"].values()):
        if "actual_instance" in each.get("properties", {}):  # a number or a text, such as a quantity
            each.update(each.pop("properties")["actual_instance"], type=["number", "string"])
        elif "properties" in each:
            each["additionalProperties"] = False
    return pytest.importorskip("jsonschema").Draft202012Validator(schema)


def check_job(manifest: dict[str, Any], version: str) -> None:
    """Checks the Job in a JobSet against the API of a version of Kubernetes.

    Raises:
        kubernetes_validate.ValidationError: it does not have the form of the API.
    """
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed"
    )
    (group,) = manifest["spec"]["replicatedJobs"]
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "job"},
        **copy.deepcopy(group["template"]),
    }
    kubernetes_validate.validate(job | copy.deepcopy(group["template"]), version, strict=True)


def expand(text: str) -> str:
    """What a container gets in place of an argument if it has no variables, as the API's text on `command` says.

    ``$$`` becomes ``$``, and the name of a variable that is unknown stays as it is, here marked to be seen.
    """
    expanded, rest = "", text
    while rest:
        if rest.startswith("$$"):
            expanded, rest = expanded + "$", rest[2:]
        elif rest.startswith("$(") and ")" in rest:
            reference, _, rest = rest.partition(")")
            expanded += f"<variable {reference[2:]}>"
        else:
            expanded, rest = expanded + rest[0], rest[1:]
    return expanded


def check_dask_job(file: dict[str, Any], job: dict[str, Any], version: str) -> None:
    """Checks a ConfigMap and a DaskJob: its own fields, which are few, and the pods and the service in it.

    Raises:
        AssertionError: the DaskJob has other fields than those that Dask's operator reads.
        kubernetes_validate.ValidationError: the rest does not have the form of the API of this version of Kubernetes.
    """
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed"
    )
    assert {key: set(value) for key, value in job["spec"].items()} == {"job": {"spec"}, "cluster": {"spec"}}
    assert (job["apiVersion"], job["kind"]) == ("kubernetes.dask.org/v1", "DaskJob")
    worker, scheduler = (job["spec"]["cluster"]["spec"][role] for role in ("worker", "scheduler"))
    assert set(job["spec"]["cluster"]["spec"]) == {"worker", "scheduler"}
    assert (set(worker), set(scheduler)) == ({"replicas", "spec"}, {"service", "spec"})
    metadata = {"metadata": {"name": "part"}}
    parts = [{"apiVersion": "v1", "kind": "Service", **metadata, "spec": scheduler["service"]}]
    for pod in (job["spec"]["job"], worker, scheduler):
        for container in pod["spec"][
            "containers"
        ]:  # the operator's schema is stricter here than that of a pod
            for quantities in container.get("resources", {}).values():
                assert all(isinstance(quantity, str) for quantity in quantities.values())
        parts.append({"apiVersion": "v1", "kind": "Pod", **metadata, "spec": pod["spec"]})
    for part in (file, *parts):
        kubernetes_validate.validate(copy.deepcopy(part), version, strict=True)
