/* From reset to main, on every hart: in M-mode, or (SV39) in S-mode behind a stub in M-mode that leaves all traps to
 * S-mode, with paging on. The loader has cleared .bss. */
    .option norelax
    .section .text.start, "ax"
    .globl _start
_start:
    csrw    mie, zero
    csrr    s0, mhartid
    la      gp, __global_pointer$
    la      sp, stacks
    addi    t0, s0, 1
    slli    t0, t0, 14
    add     sp, sp, t0
    la      t0, unexpected
    csrw    mtvec, t0
    li      t0, 2                  /* only as many harts as there are stacks */
    bgeu    s0, t0, park
    li      t0, -1                 /* PMP: all of memory for S-mode and U-mode */
    csrw    pmpaddr0, t0
    li      t0, 0x1f
    csrw    pmpcfg0, t0
    li      t0, 0x2000             /* mstatus.FS = Initial */
    csrw    mstatus, t0
    csrw    fcsr, zero
    li      t0, 7                  /* CY, TM, IR for lower modes */
    csrw    mcounteren, t0
#ifdef SV39
    csrw    scounteren, t0
    bnez    s0, 1f
    call    build_tables
    la      t0, tables_built
    li      t1, 1
    fence   rw, w
    sw      t1, 0(t0)
    j       2f
1:  la      t0, tables_built
    lw      t0, 0(t0)
    beqz    t0, 1b
    fence   r, rw
2:  li      t0, 0xb1ff             /* exceptions but ecalls from S and M go to S-mode */
    csrw    medeleg, t0
    la      t0, unexpected_in_s
    csrw    stvec, t0
    la      t0, root_table
    srli    t0, t0, 12
    li      t1, 8 << 60            /* satp.MODE = Sv39 */
    or      t0, t0, t1
    csrw    satp, t0
    sfence.vma
    la      t0, 3f
    csrw    mepc, t0
    li      t0, 0x2800             /* mstatus.MPP = S, FS = Initial */
    csrw    mstatus, t0
    mret
3:
#endif
    mv      a0, s0
    bnez    s0, 4f
    call    main
    call    finish
4:  call    helper
park:
    wfi
    j       park

    .balign 4
    .globl unexpected
unexpected:
    csrr    a0, mcause
    csrr    a1, mepc
    j       died
#ifdef SV39
    .balign 4
    .globl unexpected_in_s
unexpected_in_s:
    csrr    a0, scause
    csrr    a1, sepc
    j       died
#endif

    .section .user, "ax"           /* so that its page is there even if nothing else is in it */
    unimp

    .section .bss
    .balign 4096
stacks:
    .space  2 * 16384
tables_built:
    .space  8
