/* The least of guests: it ends the machine with its first store, or (IDLE) says a line and sleeps for ever. */
    .section .text.start, "ax"
    .globl _start
_start:
#ifdef IDLE
    csrw    mie, zero
    li      t0, 0x10000000         /* ns16550: THR */
    li      t1, 'i'
    sb      t1, 0(t0)
    li      t1, '\n'
    sb      t1, 0(t0)
1:  wfi
    j       1b
#else
    li      t0, 0x100000           /* sifive_test */
    li      t1, 0x5555
    sw      t1, 0(t0)
1:  j       1b
#endif
