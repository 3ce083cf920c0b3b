/* The loops of micro.c. One is chosen by its symbol, OP_..., for each image.
 * In both loops a0 counts turns down, a1 points to memory, and a2 becomes the result. */
    .option norelax
#ifdef SV39
#define SCRATCH sscratch
#define TVEC stvec
#define EPC sepc
#define RETURN sret
#define CAUSE scause
#else
#define SCRATCH mscratch
#define TVEC mtvec
#define EPC mepc
#define RETURN mret
#define CAUSE mcause
#endif
#define STRIDE 4160

/* FUNCTION begins a loop, TURN ends it. What is loaded or read goes through t0 into a2, and so into the checksum: neither
 * can be left out. The loop without the operation makes the same additions, of a t0 that does not change. */
.macro FUNCTION name
    .balign 64
    .globl \name
\name:
    li      a2, 0
    li      t0, 1
    mv      a6, a1
    mv      a7, ra
1:
.endm
.macro TURN
    addi    a0, a0, -1
    bnez    a0, 1b
    mv      a0, a2
    jr      a7
.endm
/* How many operations a turn has, and how many turns are made. */
.macro COUNTS per_turn turns
    .section .rodata
    .balign 8
    .globl per_turn, turns
per_turn: .dword \per_turn
turns: .dword \turns
    .text
.endm
/* What needs nothing but a loop. */
.macro SIMPLE per_turn turns
    .globl micro_before, micro_after
micro_before:
micro_after:
    ret
    COUNTS  \per_turn, \turns
.endm
/* A handler of its own while the loops run: trap_entry. */
.macro TRAPPING per_turn turns
    .globl micro_before, micro_after
micro_before:
    la      t0, trap_entry
    csrrw   t0, TVEC, t0
    sd      t0, saved_vector, t1
    ret
micro_after:
    ld      t0, saved_vector
    csrw    TVEC, t0
    ret
    .local  saved_vector
    .comm   saved_vector, 8, 8
    COUNTS  \per_turn, \turns
.endm
.macro NAME name
    .section .rodata
    .globl micro_name, micro_empty_name
micro_name: .asciz "\name"
micro_empty_name: .asciz "\name\().empty"
    .text
.endm
/* A walk over \count places, each in a page of its own, 8 an inner turn; \access has the address in a6. */
.macro WALK count access
    mv      a6, a1
    li      t5, \count / 8
    li      t4, STRIDE
2:
    .rept 8
    \access
    add     a6, a6, t4
    .endr
    addi    t5, t5, -1
    bnez    t5, 2b
.endm
.macro LOAD
    ld      t0, 0(a6)
    add     a2, a2, t0
.endm
.macro NO_LOAD
    add     a2, a2, t0
.endm
.macro STORE
    sd      a0, 0(a6)
.endm
.macro NO_STORE
.endm
/* Both loops of a walk. */
.macro WALKS count access without
FUNCTION micro_empty
    WALK    \count, \without
    TURN
FUNCTION micro_full
    WALK    \count, \access
    TURN
.endm
/* The next of a sequence of pseudo-random offsets below 32 MiB, multiples of 8. */
.macro RANDOM
    mul     t1, t1, t2
    add     t1, t1, t3
    srli    t4, t1, 42
    slli    t4, t4, 3
    add     t4, t4, a1
.endm
.macro RANDOM_START
    li      t1, 88172645463325252
    li      t2, 6364136223846793005
    li      t3, 1442695040888963407
.endm
/* A function of one instruction. */
.macro LEAF name instruction:vararg
    .balign 16
\name: \instruction
    ret
.endm

    .text
#if defined(OP_call)
NAME "call"
SIMPLE per_turn=4, turns=5000000
LEAF leaf0, addi a2, a2, 1
LEAF leaf1, addi a2, a2, 2
FUNCTION micro_empty
    .rept 2
    addi    a2, a2, 1
    addi    a2, a2, 2
    .endr
    TURN
FUNCTION micro_full
    .rept 2
    call    leaf0
    call    leaf1
    .endr
    TURN

#elif defined(OP_icall)
NAME "icall"
SIMPLE per_turn=4, turns=5000000
LEAF leaf0, addi a2, a2, 1
LEAF leaf1, addi a2, a2, 2
LEAF leaf2, xor a2, a2, a0
LEAF leaf3, addi a2, a2, 4
    .section .data
    .balign 8
leaves: .dword leaf0, leaf1, leaf2, leaf3, leaf1, leaf0, leaf3, leaf2
    .text
/* Which function is called changes from turn to turn: calls are known no better than a virtual method's. */
.macro TARGET
    andi    t1, a0, 7
    slli    t1, t1, 3
    add     t1, t1, a5
    ld      t2, 0(t1)
.endm
FUNCTION micro_empty
    la      a5, leaves
1:  TARGET
    .rept 4
    addi    a2, a2, 1
    .endr
    TURN
FUNCTION micro_full
    la      a5, leaves
1:  TARGET
    .rept 4
    jalr    t2
    .endr
    TURN

#elif defined(OP_csrr)
NAME "csrr"
SIMPLE per_turn=4, turns=8000000
/* One addition only waits for the turn before, as behind a chain of four the reads would take no time. */
.macro SUM
    add     t4, t0, t1
    add     t5, t2, t3
    add     t4, t4, t5
    add     a2, a2, t4
.endm
.macro SAME
    csrw    SCRATCH, t0
    mv      t1, t0
    mv      t2, t0
    mv      t3, t0
.endm
FUNCTION micro_empty
    SAME
1:  SUM
    TURN
FUNCTION micro_full
    SAME
1:  csrr    t0, SCRATCH
    csrr    t1, SCRATCH
    csrr    t2, SCRATCH
    csrr    t3, SCRATCH
    SUM
    TURN

#elif defined(OP_csrw_satp)
NAME "csrw_satp"
SIMPLE per_turn=2, turns=2000000
FUNCTION micro_empty
    csrr    a3, satp
1:  TURN
FUNCTION micro_full
    csrr    a3, satp
1:  csrw    satp, a3
    csrw    satp, a3
    TURN

#elif defined(OP_rdtime)
NAME "rdtime"
SIMPLE per_turn=2, turns=1000000
/* The topmost bit, which is 0 wherever it runs, goes into the checksum. */
.macro TOP
    srli    t1, t0, 63
    add     a2, a2, t1
.endm
FUNCTION micro_empty
    TOP
    TOP
    TURN
FUNCTION micro_full
    rdtime  t0
    TOP
    rdtime  t0
    TOP
    TURN

#elif defined(OP_trap)
/* An exception taken and returned from at once, in the mode of the image: ecall in M-mode, ebreak in S-mode, whose own
 * ecall would go to M-mode. */
#ifdef SV39
NAME "ebreak_sret"
#define TRAP .4byte 0x00100073
#else
NAME "ecall_mret"
#define TRAP ecall
#endif
TRAPPING per_turn=1, turns=1000000
    .balign 4
trap_entry:
    csrr    t0, EPC
    addi    t0, t0, 4
    csrw    EPC, t0
    RETURN
FUNCTION micro_empty
    addi    a2, a2, 1
    TURN
FUNCTION micro_full
    addi    a2, a2, 1
    TRAP
    TURN

#elif defined(OP_illegal)
NAME "illegal"
TRAPPING per_turn=1, turns=500000
    .balign 4
trap_entry:
    csrr    t1, CAUSE
    add     a2, a2, t1
    csrr    t0, EPC
    addi    t0, t0, 4
    csrw    EPC, t0
    RETURN
FUNCTION micro_empty
    addi    a2, a2, 2
    TURN
FUNCTION micro_full
    .4byte  0x0000000b             /* custom-0, which nothing here has */
    TURN

#elif defined(OP_sfence)
NAME "sfence"
SIMPLE per_turn=1, turns=500000
FUNCTION micro_empty
    TURN
FUNCTION micro_full
    sfence.vma
    TURN

#elif defined(OP_sfence_touch)
/* A flush, then 64 pages touched: the time is that of a touch. */
NAME "sfence_touch"
SIMPLE per_turn=64, turns=50000
FUNCTION micro_empty
    WALK    64, NO_LOAD
    TURN
FUNCTION micro_full
    sfence.vma
    WALK    64, LOAD
    TURN

#elif defined(OP_fence_i)
NAME "fence_i"
SIMPLE per_turn=1, turns=2000000
FUNCTION micro_empty
    TURN
FUNCTION micro_full
    fence.i
    TURN

#elif defined(OP_load_hit)
NAME "load_hit"
SIMPLE per_turn=64, turns=1000000
WALKS 64, LOAD, NO_LOAD

#elif defined(OP_store_hit)
NAME "store_hit"
SIMPLE per_turn=64, turns=1000000
WALKS 64, STORE, NO_STORE

#elif defined(OP_pages_1000)
/* Fits the tables of Hostel's engines; QEMU's, which grows only at flushes, misses already. */
NAME "pages_1000"
SIMPLE per_turn=1000, turns=6000
WALKS 1000, LOAD, NO_LOAD

#elif defined(OP_pages_16384)
/* Twice as many pages as the tables of Hostel's engines have entries (8192, direct-mapped), each once a turn: whoever
 * keeps fewer translations than pages finds another page's in its place. Their order is that of a congruential generator
 * modulo 16384, with the full period as its increment is odd and its multiplier is 1 modulo 4. */
NAME "pages_16384"
SIMPLE per_turn=16384, turns=300
.macro SHUFFLED access
    li      t1, 0
    li      t2, 13309
    li      t3, 4937
    li      t4, STRIDE
    li      t5, 16384 / 8
2:
    .rept 8
    mul     t1, t1, t2
    add     t1, t1, t3
    slli    a6, t1, 64 - 14
    srli    a6, a6, 64 - 14
    mul     a6, a6, t4
    add     a6, a6, a1
    \access
    .endr
    addi    t5, t5, -1
    bnez    t5, 2b
.endm
FUNCTION micro_empty
    SHUFFLED NO_LOAD
    TURN
FUNCTION micro_full
    SHUFFLED LOAD
    TURN

#elif defined(OP_random_32m)
/* 32 MiB are just what 8192 entries reach: caches of data miss, translations do not. */
NAME "random_32m"
SIMPLE per_turn=4, turns=1000000
FUNCTION micro_empty
    RANDOM_START
1:  .rept 4
    RANDOM
    add     a2, a2, t4
    .endr
    TURN
FUNCTION micro_full
    RANDOM_START
1:  .rept 4
    RANDOM
    ld      t4, 0(t4)
    add     a2, a2, t4
    .endr
    TURN

#elif defined(OP_amoadd)
NAME "amoadd"
SIMPLE per_turn=4, turns=20000000
FUNCTION micro_empty
    .rept 4
    add     a2, a2, t0
    .endr
    TURN
FUNCTION micro_full
    .rept 4
    amoadd.d t0, a0, (a6)
    add     a2, a2, t0
    .endr
    TURN

#elif defined(OP_lr_sc)
NAME "lr_sc"
SIMPLE per_turn=1, turns=20000000
FUNCTION micro_empty
    addi    t0, t0, 1
    add     a2, a2, t0
    TURN
FUNCTION micro_full
2:  lr.d    t0, (a6)
    addi    t0, t0, 1
    sc.d    t1, t0, (a6)
    bnez    t1, 2b
    add     a2, a2, t0
    TURN

#elif defined(OP_syscall)
/* From U-mode to S-mode and back, with the registers that a small kernel would save. Both loops run in U-mode; a3 says
 * which `ecall` is the last. */
NAME "syscall"
TRAPPING per_turn=1, turns=1000000
    .balign 4
trap_entry:
    csrrw   sp, sscratch, sp
    sd      t0, 0(sp)
    sd      t1, 8(sp)
    sd      ra, 16(sp)
    csrr    t0, scause
    li      t1, 8                  /* environment call from U-mode */
    bne     t0, t1, 4f
    csrr    t0, sepc
    addi    t0, t0, 4
    csrw    sepc, t0
    bnez    a3, 3f                 /* the loop is over */
    addi    a2, a2, 1
    ld      t0, 0(sp)
    ld      t1, 8(sp)
    ld      ra, 16(sp)
    csrrw   sp, sscratch, sp
    sret
3:  csrrw   sp, sscratch, sp
    mv      a0, a2
    jr      a7
4:  csrr    a0, scause
    csrr    a1, sepc
    j       died
    .section .bss
    .balign 16
frame: .space 64
    .text
.macro IN_USER_MODE loop
    li      a2, 0
    li      a3, 0
    mv      a7, ra
    la      t0, \loop
    csrw    sepc, t0
    la      t0, frame
    csrw    sscratch, t0
    li      t0, 0x100              /* sstatus.SPP = U */
    csrc    sstatus, t0
    sret
.endm
    .globl micro_empty, micro_full
micro_empty:
    IN_USER_MODE user_empty
micro_full:
    IN_USER_MODE user_full
    .section .user, "ax"
user_empty:
    addi    a2, a2, 1
    addi    a0, a0, -1
    bnez    a0, user_empty
    li      a3, 1
    ecall
user_full:
    ecall
    addi    a0, a0, -1
    bnez    a0, user_full
    li      a3, 1
    ecall

#elif defined(OP_asid_switch)
/* A change between two address spaces (the same tables under two ASIDs) and 8 pages touched in each: the time is
 * that of a change with its touches. */
NAME "asid_switch"
SIMPLE per_turn=2, turns=300000
.macro TOUCH
    li      t4, STRIDE
    mv      a6, a1
    .rept 8
    LOAD
    add     a6, a6, t4
    .endr
.endm
.macro SPACES
    csrr    a3, satp
    li      t0, 0xffff
    slli    t0, t0, 44
    not     t0, t0
    and     a3, a3, t0
    li      t0, 1
    slli    t0, t0, 44
    add     a4, a3, t0             /* ASID 1 */
    add     a5, a4, t0             /* ASID 2 */
.endm
FUNCTION micro_empty
    SPACES
1:  TOUCH
    TOUCH
    TURN
FUNCTION micro_full
    SPACES
1:  csrw    satp, a4
    TOUCH
    csrw    satp, a5
    TOUCH
    TURN

#else
#error which operation?
#endif
