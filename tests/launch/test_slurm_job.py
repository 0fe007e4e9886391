"""What a Slurm job asks for: every value is checked before it gets into a line that no shell quotes."""

import dataclasses

import pytest

from dlcore.launch.slurm_job import Container, HeaderText, SlurmJob, TimeLimit, check_job, header


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 1800),
        ("0:30", 30),
        ("90:00", 5400),
        ("1:02:03", 3723),
        ("2-3", 183600),
        ("2-3:04", 183840),
        ("2-3:04:05", 183845),
        ("0-0:01", 60),
    ],
)
def test_every_form_of_a_time_is_read_as_slurm_does(text, seconds):
    assert TimeLimit(text) == text
    assert TimeLimit(text).seconds == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4h",
        "1:2:3:4",
        "-1",
        "1-",
        "-",
        "1.5",
        " 1",
        "1\n",
        "1:-2",
        "UNLIMITED",
        "0",
        "0:00",
        "0-0",
        "1:123",
        "٣",
    ],
)
def test_other_texts_are_no_times(text):
    with pytest.raises(ValueError, match=r"^time: got .*, expected a time"):
        TimeLimit(text)


@pytest.mark.parametrize(
    "text", ["", "a b", "a\nb", "a\tb", 'a"b', "a'b", "a\\b", "a#b", "\ud800", "a\u2028b"]
)
def test_a_value_of_a_header_has_no_letter_with_a_meaning(text):
    with pytest.raises(ValueError, match=r"^text: got .*, expected printable text without blanks"):
        HeaderText(text)


@pytest.mark.parametrize("text", ["gpu", "a,b", "a100|h100", "[rack1*2&rack2*4]", "größe", "$(x)"])
def test_other_values_stay_as_they_are(text):
    assert HeaderText(text) == text


@pytest.mark.parametrize("text", ["", "image.sif", "docker:image", "apptainer:", "apptainer"])
def test_a_container_has_an_engine_and_an_image(text):
    with pytest.raises(ValueError, match="expected apptainer:IMAGE or enroot:IMAGE"):
        Container(text)


def test_an_image_may_have_colons():
    container = Container("apptainer:docker://a/b:1")
    assert (container.engine, container.image) == ("apptainer", "docker://a/b:1")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"time": TimeLimit("2")}, "--signal_seconds: got 120 with --time=2, expected less than .* 120 s"),
        ({"sbatch": ("licenses=x",)}, "--sbatch: got 'licenses=x', expected an option of sbatch"),
        ({"sbatch": ("--licenses=x\n#SBATCH -n 9",)}, "--sbatch: got .*, expected an option of sbatch"),
        ({"sbatch": ("--nodes=3",)}, "--sbatch: got '--nodes=3', but launch/slurm sets --nodes itself"),
        ({"sbatch": ("--output=x",)}, "--sbatch: got '--output=x', but launch/slurm sets --output itself"),
        ({"sbatch": ("--array=0-3",)}, "--sbatch: got '--array=0-3', but launch/slurm sets --array itself"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changed, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        check_job(dataclasses.replace(SlurmJob(), **changed))


def test_settings_that_fit_are_accepted():
    check_job(SlurmJob())
    check_job(SlurmJob(time=TimeLimit("2:01"), sbatch=("--licenses=x", "-w n1")))
    check_job(SlurmJob(time=TimeLimit("1"), signal_seconds=0))


def test_the_header_has_what_was_asked_for():
    job = SlurmJob(
        nodes=2,
        tasks_per_node=4,
        gpus_per_task=2,
        cpus_per_task=3,
        memory=HeaderText("64G"),
        time=TimeLimit("4:00:00"),
        partition=HeaderText("gpu"),
        sbatch=("--licenses=x",),
    )
    assert set(header(job, "adding", "0-3%2")) == {
        "--job-name=adding",
        "--nodes=2",
        "--ntasks-per-node=4",
        "--gpus-per-node=8",
        "--cpus-per-task=3",
        "--mem=64G",
        "--time=4:00:00",
        "--partition=gpu",
        "--array=0-3%2",
        "--output=slurm-%a.log",
        "--open-mode=append",
        "--signal=USR1@120",
        "--requeue",
        "--licenses=x",
    }
    assert job.devices == 16


def test_the_header_leaves_out_what_was_not_asked_for():
    assert set(header(SlurmJob(signal_seconds=0), "adding", "")) == {
        "--job-name=adding",
        "--nodes=1",
        "--ntasks-per-node=1",
        "--output=slurm.log",
        "--open-mode=append",
        "--requeue",
    }
    assert SlurmJob(nodes=2).devices == 2
