"""Which machine a text names, and how a process is prepared for one."""

import jax
import pytest

from dlcore.training.targets import find
from dlcore.training.targets.find import find_target, prepare_process


@pytest.fixture(autouse=True)
def kinds(monkeypatch):
    """Each kind of target returns what it is called with."""
    for name in ("cpu", "gpu", "tpu"):
        monkeypatch.setattr(find, f"{name}_target", lambda *arguments, name=name: (name, *arguments))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cpu:8", ("cpu", 8)),
        ("h100:16", ("gpu", "h100", 16)),
        ("a100-40gb:1", ("gpu", "a100-40gb", 1)),
        ("v5e:2x4", ("tpu", "v5e:2x4")),
        ("v5p:2x2x1", ("tpu", "v5p:2x2x1")),
        ("tpu7x:2x2x1", ("tpu", "tpu7x:2x2x1")),
    ],
)
def test_a_text_names_a_kind_of_machine(text, found):
    assert find_target(text) == found


@pytest.mark.parametrize(
    "text",
    ["", "cpu", "cpu:", "cpu:-1", "cpu:²", "h100", "h100:2x4", "gpu:8", "v5e", "v5e:2x", "2x4", "v5e:2x4\n"],
)
def test_any_other_text_is_refused_with_the_three_kinds(text):
    with pytest.raises(
        ValueError,
        match=r"(?s)^target: got .*, expected a TPU topology such as v5e:2x4, one of a100, .*cpu:N",
    ):
        find_target(text)


def test_a_misspelled_gpu_gets_a_suggestion():
    with pytest.raises(ValueError, match="did you mean 'h100'"):
        find_target("H100:8")


@pytest.mark.parametrize("target", [None, 8, ["v5e:2x4"]])
def test_what_is_no_text_is_refused(target):
    with pytest.raises(TypeError, match=r"^target: got .*, expected a text such as v5e:2x4"):
        find_target(target)


@pytest.mark.parametrize(
    ("text", "updates"),
    [
        ("cpu:8", {"jax_platforms": "cpu", "jax_num_cpu_devices": 8}),
        ("cpu:0", {"jax_platforms": "cpu"}),
        ("v5e:2x4", {"jax_platforms": "cpu"}),
        ("nonsense", {"jax_platforms": "cpu"}),
    ],
)
def test_a_process_that_inspects_leaves_the_accelerators_of_this_machine_alone(text, updates, monkeypatch):
    made = {}
    monkeypatch.setattr(jax.config, "update", lambda name, value: made.update({name: value}))
    prepare_process(text)
    assert made == updates


def test_a_process_whose_devices_are_found_already_keeps_them(monkeypatch):
    update = jax.config.update
    monkeypatch.setattr(
        jax.config, "update", lambda name, value: None if name == "jax_platforms" else update(name, value)
    )
    before = jax.devices()
    prepare_process(f"cpu:{len(before) + 1}")
    assert jax.devices() == before
