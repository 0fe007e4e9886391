"""Collectives and calls in the text of compiled programs: of small texts by hand, and of programs that JAX compiles."""

import json
import os
import subprocess
import sys

import pytest

from dlcore.utils.hlo import Collective, group_size, read_calls, read_collectives, read_instruction, size_of
from tests.helpers.paths import ROOT

LOOPS = """HloModule step, is_scheduled=true, num_partitions=8

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%inner (state: (s32[], f32[16])) -> (s32[], f32[16]) {
  %state = (s32[], f32[16]{0}) parameter(0)
  %value = f32[16]{0:T(128)S(1)} get-tuple-element(%state), index=1
  %gathered = f32[128]{0} all-gather(%value), channel_id=7, replica_groups=[1,8]<=[8], dimensions={0}
  ROOT %tuple = (s32[], f32[16]{0}) tuple(%value, %value)
}

%counts (state: (s32[], f32[16])) -> pred[] {
  %state = (s32[], f32[16]{0}) parameter(0)
  %bound = s32[]{:T(128)} constant(20)
  %step = s32[]{:T(128)} get-tuple-element(%state), index=0
  ROOT %less = pred[]{:T(512)} compare(%step, %bound), direction=LT
}

%waits (state: (s32[], f32[16])) -> pred[] {
  %state = (s32[], f32[16]{0}) parameter(0)
  %value = f32[16]{0} get-tuple-element(%state), index=1
  ROOT %done = pred[] custom-call(%value), custom_call_target="is_done"
}

%outer (state: (s32[], f32[16])) -> (s32[], f32[16]) {
  %state = (s32[], f32[16]{0}) parameter(0)
  %loop = (s32[], f32[16]{0}) while(%state), condition=%counts, body=%inner
  %call = f32[16]{0} custom-call(%state), custom_call_target="__cudnn$convForward"
  ROOT %tuple = (s32[], f32[16]{0}) tuple(%loop, %call)
}

%open (state: (s32[], f32[16])) -> (s32[], f32[16]) {
  %state = (s32[], f32[16]{0}) parameter(0)
  %value = f32[16]{0} get-tuple-element(%state), index=1
  %shifted = f32[16]{0} collective-permute(%value), channel_id=9, source_target_pairs={{0,1},{1,2},{2,0}}
  ROOT %tuple = (s32[], f32[16]{0}) tuple(%value, %shifted)
}

ENTRY %main.1 (x: f32[16]) -> f32[16] {
  %x = f32[16]{0} parameter(0)
  %buffer = f32[16]{0} custom-call(), custom_call_target="AllocateBuffer"
  %start = (s32[], /*index=1*/f32[16]{0}) tuple(%x, %x)
  %loop = (s32[], f32[16]) while(%start), condition=%waits, body=%outer, backend_config={"known_trip_count":{"n":"3"}}
  %wait = (s32[], f32[16]{0}) while(%start), condition=%waits, body=%open
  %both = (f32[16]{0}, bf16[4]{0}) all-reduce(%x, %x), channel_id=1, replica_groups={{0,1},{2,3}}, to_apply=%add
  ROOT %again = f32[16]{0} all-reduce(%x), replica_groups={}, to_apply=%add
}
"""


def test_a_collective_in_a_loop_runs_once_a_trip():
    assert set(read_collectives(LOOPS)) == {
        Collective("all-gather", 128 * 4, 8, runs=3 * 20),
        Collective("collective-permute", 16 * 4, 3, runs=1, exact=False),
        Collective("all-reduce", 2 * 16 * 4, 2),  # two operands of 64 bytes
        Collective("all-reduce", 16 * 4, 8),
    }
    assert sum(one.total for one in read_collectives(LOOPS)) == 60 * 512 + 64 + 128 + 64


def test_calls_are_counted_as_often_as_they_run():
    """The condition of a loop is no part of its trips here; buffers of the compiler are no calls."""
    assert read_calls(LOOPS) == {"__cudnn$convForward": 3}


ASYNC = """HloModule step, num_partitions=4

%wrapped (x: f32[32]) -> f32[8] {
  %x = f32[32]{0} parameter(0)
  ROOT %scatter = f32[8]{0} reduce-scatter(%x), channel_id=3, replica_groups={{0,1,2,3}}, dimensions={0}
}

ENTRY %main (x: f32[32], y: bf16[8]) -> f32[8] {
  %x = f32[32]{0} parameter(0)
  %y = bf16[8]{0} parameter(1)
  %gather-start = (bf16[8]{0}, bf16[32]{0}) all-gather-start(%y), channel_id=1, replica_groups=[1,4]<=[4]
  %sum-start = f32[32]{0} all-reduce-start(%x), channel_id=2, replica_groups={{0,1,2,3}}
  %gather = bf16[32]{0} all-gather-done(%gather-start)
  %sum = f32[32]{0} all-reduce-done(%sum-start)
  %scatter-start = ((f32[32]{0}), f32[8]{0}) async-start(%x), calls=%wrapped
  %scatter-update = ((f32[32]{0}), f32[8]{0}) async-update(%scatter-start), calls=%wrapped
  ROOT %scatter = f32[8]{0} async-done(%scatter-update), calls=%wrapped
}
"""


def test_a_collective_that_starts_and_ends_counts_once():
    assert read_collectives(ASYNC) == [
        Collective("reduce-scatter", 32 * 4, 4),
        Collective("all-gather", 32 * 2, 4),
        Collective("all-reduce", 32 * 4, 4),
    ]


PIECES = """HloModule step, num_partitions=2

%begin (x: f32[4]) -> (f32[4], f32[8]) {
  %x = f32[4]{0} parameter(0)
  %gather.1 = f32[8]{0} all-gather(%x), channel_id=5, replica_groups=mesh['a'=2,'b'=1] {'a'}, dimensions={0}
  ROOT %started = (f32[4]{0}, f32[8]{0}) custom-call(%gather.1), custom_call_target="AsyncCollectiveStart"
}

%piece (x: f32[4]) -> f32[8] {
  %x = f32[4]{0} parameter(0)
  ROOT %gather.2 = f32[8]{0} all-gather(%x), channel_id=5, replica_groups=mesh['a'=2,'b'=1] {'a'}, dimensions={0}
}

%body (x: f32[4]) -> f32[4] {
  %x = f32[4]{0} parameter(0)
  %fusion = f32[8]{0} fusion(%x), kind=kCustom, calls=%piece
  ROOT %copy = f32[4]{0} copy(%x)
}

%condition (x: f32[4]) -> pred[] {
  ROOT %x = pred[] parameter(0)
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %x = f32[4]{0} parameter(0)
  %started = (f32[4]{0}, f32[8]{0}) fusion(%x), kind=kCustom, calls=%begin
  ROOT %loop = f32[4]{0} while(%x), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"50"}}
}
"""


def test_a_collective_that_a_tpu_does_in_pieces_beside_a_loop_counts_once():
    assert read_collectives(PIECES) == [Collective("all-gather", 32, 2)]


def test_what_no_computation_calls_does_not_run():
    unused = LOOPS.replace("body=%outer", "body=%add")
    assert {one.kind for one in read_collectives(unused)} == {"all-reduce", "collective-permute"}
    assert read_calls(unused) == {}


def test_a_text_without_collectives_has_none():
    assert read_collectives("") == []
    assert (
        read_calls("HloModule empty\n\nENTRY %main () -> f32[] {\n  ROOT %c = f32[] constant(1)\n}\n") == {}
    )


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ("f32[]", 4),
        ("f32[2,3]{1,0:T(8,128)S(1)}", 24),
        ("(f32[2], (bf16[4], s8[3]), token[])", 8 + 8 + 3),
        ("pred[5]", 5),
        ("s4[3]", 2),
        ("f8e4m3fn[7]", 7),
        ("c64[2]", 16),
        ("f32[<=8,2]", 64),
        ("opaque[]", 0),
        ("", 0),
    ],
)
def test_the_size_of_a_shape(shape, size):
    assert size_of(shape) == size


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ("replica_groups={{0,4},{1,5}}", 2),
        ("replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}", 8),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", 2),
        ("replica_groups=mesh['data'=4,'model'=2] {'data'}", 4),
        ("replica_groups=mesh['a'=4,'b'=2] {'a','b'}", 8),
        ("replica_groups={}", 0),
        ("source_target_pairs={{0,1},{1,0}}", 2),
        ("", 0),
    ],
)
def test_the_size_of_a_group(attributes, size):
    assert group_size(attributes) == size


def test_an_instruction_is_read_with_its_nested_shape_and_operands():
    line = '  ROOT %a.1 = (f32[2]{0:T(128)}, /*index=1*/(s32[], u32[2])) custom-call(%b, %c.2), target="x(y)"'
    one = read_instruction(line)
    assert (one.name, one.opcode, one.operands) == ("a.1", "custom-call", ("b", "c.2"))
    assert one.shape == "(f32[2]{0:T(128)}, /*index=1*/(s32[], u32[2]))"
    assert one.attributes == ', target="x(y)"'
    assert read_instruction("  %c = s32[] constant(50)").attributes == "50"
    assert [read_instruction(line) for line in ("}", "", "ENTRY %main () -> f32[] {", "  %a = b")] == [
        None
    ] * 4


PROGRAM = """
import json, jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from dlcore.utils.hlo import read_collectives
mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "model"))
place = lambda *axes: NamedSharding(mesh, P(*axes))
def step(w, x):
    return jax.lax.scan(lambda total, x: (jnp.tanh(w * total + x).sum(), None), 1.0, x)[0]
def text(function, *shardings):
    shapes = [jax.ShapeDtypeStruct((16, 16), "float32"), jax.ShapeDtypeStruct((5, 16, 16), "float32")]
    return jax.jit(function, in_shardings=shardings).lower(*shapes[: len(shardings)]).compile().as_text()
print(json.dumps([
    read_collectives(text(lambda w: w.sum(), place("data"))),
    read_collectives(text(lambda w: w + w.T, place("data", None))),
    read_collectives(text(step, place("model"), place(None, "model"))),
]))
"""


def test_texts_of_the_compiler_of_this_machine_are_understood():
    """On 4 x 2 devices: a sum over all rows, a transposed matrix, and a sum in each of five steps."""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu"}
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    rows, transposed, steps = json.loads(finished.stdout.splitlines()[-1])
    assert rows == [["all-reduce", 4, 4, 1, True]]
    assert transposed == [["all-to-all", 16 * 16 * 4 // 4, 4, 1, True]]
    ((kind, size, _, runs, exact),) = steps
    assert (kind, size, runs, exact) == ("all-reduce", 4, 5, True)
