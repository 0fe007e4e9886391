"""The commands of gcloud that create, show and delete a queued resource of TPU VMs, and run scripts on its workers."""

import subprocess
from dataclasses import dataclass

from dlcore.launch.tpu_topology import Slice


@dataclass(frozen=True)
class QueuedResource:
    """A request for one TPU slice, which waits in a queue of Google Cloud until the slice is free.

    Attributes:
        name: the name of the request and of its slice.
        tpu: the slice.
        zone: the zone, such as ``us-west4-a``.
        project: the project; None for gcloud's own setting.
        runtime_version: the image of the TPU VMs.
        spot: True for capacity that costs less and may be taken away at any time.
    """

    name: str
    tpu: Slice
    zone: str
    project: str | None
    runtime_version: str
    spot: bool

    @property
    def create(self) -> list[str]:
        """The command that asks for the slice."""
        return self._gcloud(
            "queued-resources",
            "create",
            self.name,
            f"--node-id={self.name}",
            f"--accelerator-type={self.tpu.accelerator_type}",
            f"--runtime-version={self.runtime_version}",
            *(["--spot"] if self.spot else []),
        )

    @property
    def describe(self) -> list[str]:
        """The command that prints the state and who caused it, with a tab in between."""
        return self._gcloud(
            "queued-resources", "describe", self.name, "--format=value(state.state,state.stateInitiator)"
        )

    @property
    def delete(self) -> list[str]:
        """The command that deletes the request, and its slice if there is one."""
        return self._gcloud("queued-resources", "delete", self.name, "--force")

    def ssh(self, script: str) -> list[str]:
        """The command that runs a shell script on every worker of the slice.

        Args:
            script: the script; gcloud hands it to the shell of each worker byte for byte.
        """
        return self._gcloud("tpu-vm", "ssh", self.name, "--worker=all", f"--command={script}")

    def _gcloud(self, *arguments: str) -> list[str]:
        project = [] if self.project is None else [f"--project={self.project}"]
        return ["gcloud", "compute", "tpus", *arguments, f"--zone={self.zone}", *project, "--quiet"]


def read_state(resource: QueuedResource) -> tuple[str, bool] | None:
    """Asks gcloud once for the state of a queued resource.

    Args:
        resource: the queued resource.

    Returns:
        The state, such as ``ACTIVE``, and whether a user caused it; None if there is no such resource.

    Raises:
        OSError: gcloud does not tell the state.
    """
    ended = subprocess.run(resource.describe, capture_output=True, text=True, errors="replace", check=False)
    if ended.returncode == 0 and ended.stdout.strip():
        state, _, initiator = ended.stdout.strip().partition("\t")
        return state, initiator == "USER"
    if "NOT_FOUND" in ended.stderr:
        return None
    raise OSError(
        f"gcloud does not tell the state of {resource.name}: {ended.stderr.strip() or ended.returncode}"
    )
