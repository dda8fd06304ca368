"""The loads and products that are found in the loops of a kernel's text."""

import pytest

from tests.gpu.compiled import loaded, multiplied

HEAD = """.reqntid 128
{
	ld.global.v4.b32 { %r1, %r2, %r3, %r4 }, [ %rd1 + 0 ];
"""
# How the compiler writes a loop when it optimizes, and when it does not.
LOOPS = {
    "tested at its end": """$L__BB0_1:
	mov.u32 %r5, 0x0; ld.global.v2.b32 { %r5, %r6 }, [ %rd2 + 0 ];
	@%p2 bra 	$L__BB0_1;
""",
    "tested at its start": """	bra.uni 	$L__BB0_1;
$L__BB0_1:
	@%p1 bra 	$L__BB0_3;
	bra.uni 	$L__BB0_2;
$L__BB0_2:
	mov.u32 %r5, 0x0; ld.global.v2.b32 { %r5, %r6 }, [ %rd2 + 0 ];
	bra.uni 	$L__BB0_1;
$L__BB0_3:
""",
}
TAIL = """	@%p3 ld.global.b16 { %rs1 }, [ %rd9 + 0 ];
	ret;
}
"""
WITHIN = """	cp.async.cg.shared.global [ %r7 + 0 ], [ %rd3 + 0 ], 0x10, 0x10;
	@%p4 ld.global.nc.L1::no_allocate.b16 %rs2, [%rd4];
"""


@pytest.mark.parametrize("kind", LOOPS)
def test_loads_of_a_loop(kind):
    """Loads before and after it do not count, nor do asynchronous copies in it; one load more does."""
    loop = LOOPS[kind]
    assert loaded(HEAD + TAIL) == 0
    assert loaded(HEAD + loop + TAIL) == 128 * 8
    assert loaded(HEAD + loop.replace("	mov", WITHIN + "	mov") + TAIL) == 128 * (8 + 2)


@pytest.mark.parametrize("kind", LOOPS)
def test_loads_of_nested_loops(kind):
    """Each counts once."""
    inner = LOOPS[kind].replace("BB0_", "BB0_1")
    nested = LOOPS[kind].replace("	mov", inner + "	mov")
    assert loaded(HEAD + nested + TAIL) == 128 * (8 + 8)


def test_products_of_a_loop():
    """Those of both warp groups of a program count, and none outside the loop."""
    product = "	wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {%f1}, %rd1, %rd2, 1, 1, 1, 0, 1;\n"
    loop = LOOPS["tested at its end"].replace("	mov", product * 2 + "	mov")
    assert multiplied(HEAD + product + TAIL) == 0
    assert multiplied(HEAD + product + loop + TAIL) == 2 * 64 * 32 * 16
    assert multiplied(HEAD.replace("128", "256") + loop + TAIL) == 4 * 64 * 32 * 16
