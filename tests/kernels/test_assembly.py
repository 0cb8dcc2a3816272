"""Reading assembly: functions, loops, what is in them."""

from fastnn.testing.assembly import Instruction, functions

X86 = """
	.text
	.globl	outer
	.type	outer,@function
outer:                                  # @outer
	.cfi_startproc
	pushq	%rbp
	movq	%rsp, %rbp
	testq	%rdi, %rdi
	jle	.LBB0_4
.LBB0_1:                                # =>This Loop Header: Depth=1
	movq	%rsi, %rax
	vmovups	%ymm3, -64(%rbp)                # 32-byte Spill
	#APP
	#NO_APP
.LBB0_2:
	vbroadcastss	(%rax,%rdx,4), %zmm0
	vfmadd231ps	%zmm0, %zmm1, %zmm2
	vfmadd213ps	(%rsp), %zmm2, %zmm0
	vfnmadd231pd	-32(%rbp), %ymm4, %ymm5
	movq	%rcx, 8(%rsp)                   # 8-byte Spill
	callq	fmaf@PLT
	decq	%rdx
	jne	.LBB0_2
	decq	%rdi
	jne	.LBB0_1
.LBB0_4:
	popq	%rbp
	retq
.Lfunc_end0:
	.size	outer, .Lfunc_end0-outer
	.type	second,@function
second:
	jmpq	*(%rax)
	.size	second, 1
	.type	table,@object
table:
	.quad	outer
"""

ARM = """
	.type	tile,@function
tile:                                   // @tile
	sub	sp, sp, #64
	cbz	x0, .LBB0_2
.LBB0_1:                                // =>This Inner Loop Header: Depth=1
	ldr	q17, [x4, #16]
	ld1r	{ v3.4s }, [x1], x2
	str	q17, [sp, #16]                  // 16-byte Spill
	fmla	v18.4s, v3.4s, v17.4s
	fmla	v19.4s, v17.4s, v3.s[0]
	fmla	v19.2s, v17.2s, v3.s[0]
	prfm	pldl1keep, [x8]
	subs	x0, x0, #1
	b.gt	.LBB0_1
.LBB0_2:
	bl	memcpy
	tbnz	w8, #0, .LBB0_2
	ret
	.size	tile, 3
"""


def test_x86():
    found = functions(X86)
    assert list(found) == ["outer", "second"]
    (loop,) = found["outer"].innermost
    assert [i.operation for i in loop.instructions][:2] == ["vbroadcastss", "vfmadd231ps"]
    assert len(loop.instructions) == 8
    assert (loop.fmas(64), loop.fmas(32), loop.fmas(16)) == (2, 1, 0)
    assert loop.calls == [Instruction("callq", "fmaf@PLT")]
    assert [i.operation for i in loop.spills] == ["vfmadd213ps", "vfnmadd231pd"]
    assert found["second"].innermost == []
    assert found["second"].instructions[0].target == ""


def test_a_base_pointer_that_holds_no_frame_is_an_address_like_any_other():
    (loop,) = functions(X86.replace("movq	%rsp, %rbp", "movq	%rax, %rbp"))["outer"].innermost
    assert [i.operands for i in loop.spills] == ["(%rsp), %zmm2, %zmm0"]


def test_aarch64():
    first, second = functions(ARM)["tile"].innermost
    assert (first.fmas(16), first.fmas(8)) == (2, 1)
    assert first.spills == [Instruction("str", "q17, [sp, #16]")]
    assert first.calls == []
    assert second.calls == [Instruction("bl", "memcpy")]
    assert second.spills == []
