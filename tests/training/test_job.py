"""The job that the environment describes: its processes, and the GPUs of each."""

import pytest

from dlcore.training.job import (
    COORDINATOR,
    NUM_PROCESSES,
    PROCESS_ID,
    is_in_job,
    local_device_ids,
    named_process,
    of_the_job,
    read_variables,
)


@pytest.mark.parametrize("coordinator", ["node1:1234", "10.0.0.1:1", "[::1]:65535"])
def test_the_variables_tell_the_place_of_the_process(coordinator):
    assert read_variables({COORDINATOR: coordinator, NUM_PROCESSES: "3", PROCESS_ID: "2"}) == (3, 2)


@pytest.mark.parametrize(
    "coordinator", ["", "node1", "node1:", ":1234", "127.0.0.1:1x", "127.0.0.1:0", "a b:1", "node1:65536"]
)
def test_a_coordinator_without_host_or_port_is_refused(coordinator):
    with pytest.raises(ValueError, match=r"DLCORE_COORDINATOR: got '.*', expected HOST:PORT of process 0"):
        read_variables({COORDINATOR: coordinator, NUM_PROCESSES: "2", PROCESS_ID: "0"})


@pytest.mark.parametrize(
    "variables",
    [{}, {NUM_PROCESSES: "2"}, {NUM_PROCESSES: "2", PROCESS_ID: "2"}, {NUM_PROCESSES: "2", PROCESS_ID: "-1"}],
)
def test_variables_that_do_not_describe_a_job_are_refused(variables):
    with pytest.raises(
        ValueError, match=r"DLCORE_COORDINATOR: got 127\.0\.0\.1:1 with DLCORE_NUM_PROCESSES="
    ):
        read_variables({COORDINATOR: "127.0.0.1:1", **variables})


@pytest.mark.parametrize(
    ("environ", "joins"),
    [
        ({}, False),
        ({COORDINATOR: ""}, True),
        ({"SLURM_STEP_NUM_TASKS": "1"}, False),
        ({"SLURM_STEP_NUM_TASKS": "2"}, True),
        ({"SLURM_STEP_NUM_TASKS": "2x"}, False),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, True),
    ],
)
def test_a_job_has_several_processes_or_names_its_coordinator(environ, joins):
    assert is_in_job(environ) == joins


SLURM = {"SLURM_GTIDS": "4,5,6,7", "SLURM_PROCID": "6"}
ALONE = {"SLURM_GTIDS": "1", "SLURM_PROCID": "1"}
MPI = {"OMPI_COMM_WORLD_LOCAL_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}
FOUR, EIGHT = {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}


@pytest.mark.parametrize(
    ("environ", "devices"),
    [
        ({}, None),
        (SLURM, None),  # no GPUs that anything tells of
        (ALONE, []),  # one task a node: all GPUs
        ({**ALONE, **FOUR}, []),
        ({**SLURM, **FOUR}, [2]),  # one task a GPU
        ({**SLURM, **EIGHT}, [4, 5]),
        ({**SLURM, "CUDA_VISIBLE_DEVICES": "3"}, []),  # Slurm shows each task its own GPU
        ({**SLURM, "CUDA_VISIBLE_DEVICES": "4,5", "SLURM_GPUS_ON_NODE": "8"}, []),
        ({**SLURM, **FOUR, "SLURM_GPUS_ON_NODE": "16"}, []),
        ({**SLURM, **FOUR, "SLURM_GPUS_ON_NODE": "4"}, [2]),
        ({**SLURM, "CUDA_VISIBLE_DEVICES": "0,1"}, None),  # more tasks than GPUs
        ({**MPI, **FOUR}, [2, 3]),
        ({**MPI, "CUDA_VISIBLE_DEVICES": "0,1"}, [1]),
        ({**SLURM, **FOUR, "JAX_LOCAL_DEVICE_IDS": "0"}, None),
        ({**SLURM, **FOUR, COORDINATOR: "node1:1"}, []),
    ],
)
def test_a_task_uses_its_share_of_the_gpus_that_it_sees(environ, devices):
    assert local_device_ids(environ) == devices


@pytest.mark.parametrize("host", ["node1", "node (1)", "ä b"])
@pytest.mark.parametrize("line", ["error: {} died; why", "{} ended: stopped by SIGTERM"])
def test_the_named_process_is_found(host, line):
    assert named_process(line.format(of_the_job(12, host))) == 12


@pytest.mark.parametrize(
    "line", ["", "error: KeyError", "process 1 is slow", "waiting for process 1 (a) of the job: no sign"]
)
def test_other_lines_name_no_process(line):
    assert named_process(line) is None
