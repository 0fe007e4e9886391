"""Many runs whose workers and client are killed end in the same table as undisturbed ones.

``python -m tests.helpers.disturbed_runs`` does it with thousands of runs, and ``python -m tests.helpers.runs_on_slurm``
with trainings on a Slurm of two nodes.
"""

import pytest

from tests.helpers.disturbed_runs import DisturbedSeries
from tests.helpers.runs_on_slurm import on_slurm, read_table
from tests.helpers.slurm_cluster import missing_programs

pytest.importorskip("distributed")


@pytest.mark.slow
def test_each_run_is_in_the_table_once(tmp_path):
    counts = DisturbedSeries(tmp_path, runs=60, workers=4, seed=0).disturb(kills=5, freeze=3, client_kills=1)
    assert counts["begun"] >= 60


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_programs()), reason=f"Slurm is not installed: {missing_programs()}")
def test_a_node_of_slurm_is_taken_away_in_the_middle(tmp_path):
    lines = [[f"--config.seed={seed}"] for seed in range(60)]
    common = ["--mode=toy", "--config.sleep=0.2"]
    result = on_slurm(tmp_path, "tests.helpers.many_toy", common, lines)
    assert (result["done"], result["failed"]) == (60, 0)
    rows = read_table(tmp_path)
    assert [(row["seed"], row["square"]) for row in rows] == [(str(seed), str(seed**2)) for seed in range(60)]
