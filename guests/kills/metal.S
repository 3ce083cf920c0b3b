/* From reset to main, in M-mode with one hart: a0 is the device tree, as the boot ROM gives it in a1. */
    .option norelax
    .section .text.start, "ax"
    .globl _start
_start:
    la      gp, __global_pointer$
    la      sp, stack_top
    la      t0, died
    csrw    mtvec, t0
    mv      a0, a1
    call    start
    .align 2
died:
    la      sp, stack_top
    csrr    a0, mcause
    csrr    a1, mepc
    call    trapped
    j       .
