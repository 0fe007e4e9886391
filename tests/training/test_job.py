"""The job that the environment describes: its processes."""

import pytest

from dlcore.training.job import COORDINATOR, NUM_PROCESSES, PROCESS_ID, is_in_job, read_variables


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
