"""Every public function answers a bad argument with an error that names it.

The table in `tests.helpers.calls` says what a good call is and of which kind each argument is. Each test makes the good
call of one function, and then every call with one bad argument. ``pytest tests/test_bad_calls.py -k gradflow`` tries
one room.
"""

import inspect
from types import ModuleType

import pytest

import dlcore as dl
from dlcore.layers import convert
from tests.helpers.calls.table import WITHOUT_CHECKS, public_calls

CALLS = public_calls()


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_bad_arguments_are_named_and_good_ones_taken(call):
    faults = {"the good call": call.fault()}
    faults |= {f"{name}: {value}": call.fault(name, value) for name, value in call.bad_calls()}
    found = [f"  {bad:45} {fault}" for bad, fault in faults.items() if fault]
    if found:
        pytest.fail("\n".join([f"{call.name}: {len(found)} of {len(faults)}", *found]), pytrace=False)


def test_there_are_many_bad_calls():
    assert sum(1 for call in CALLS for _ in call.bad_calls()) >= 600


def public_names(module: ModuleType, path: str) -> list[str]:
    """The names of a namespace and of the namespaces in it."""
    known = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and inspect.getmodule(value) is module
    ]
    names = []
    for name in known:
        value = getattr(module, name)
        names += (
            public_names(value, f"{path}.{name}") if isinstance(value, ModuleType) else [f"{path}.{name}"]
        )
    return names


def test_every_public_name_has_its_calls():
    names = public_names(dl, "dl") + public_names(convert, "dl.layers.convert")
    known = {call.name.partition(": ")[2] for call in CALLS}
    namespaces = ("cliff", "wide_range")
    missing = []
    for name in names:
        *_, space, last = name.split(".")
        if name not in WITHOUT_CHECKS and (f"{space}.{last}" if space in namespaces else last) not in known:
            missing.append(name)
    assert not missing
    assert set(WITHOUT_CHECKS) <= set(names)
