"""The loads that are found in the loops of a kernel's text."""

import pytest

from tests.gpu.compiled import loaded

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
