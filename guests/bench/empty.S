/* The least of guests: it says a line, and then ends the machine or (IDLE) sleeps for ever. */
    .section .text.start, "ax"
    .globl _start
_start:
    li      t0, 0x10000000         /* ns16550: THR */
    li      t1, '\n'
    sb      t1, 0(t0)
#ifdef IDLE
    csrw    mie, zero
1:  wfi
#else
    li      t0, 0x100000           /* sifive_test */
    li      t1, 0x5555
    sw      t1, 0(t0)
1:
#endif
    j       1b
