# A bare-metal x86-64 guest that works in rounds and says on the serial line what it computed.
#
# Entered by PVH in 32-bit protected mode. It sets up long mode with its own page tables, GDT, IDT and TSS, and then in
# each round fills and sums memory, sorts, runs string instructions, takes a page fault and maps the page, takes #DE, #UD
# and #BP, visits user mode (iretq, syscall, sysret, int), and sleeps in hlt until the PIT interrupts. What it prints and
# which device registers it touches depend on nothing but the number of rounds, so that two engines can be compared, and
# so that it can be moved between them at any instruction. At the end it writes 0x2a to the debug exit port.
#
# The first word of the command line, if it is a decimal number, is the number of rounds; else there are 8.

    .intel_syntax noprefix
    .set COM1, 0x3f8
    .set EXIT, 0xf4
    .set CODE, 0x08
    .set DATA, 0x10
    .set USER_DATA, 0x1b           # sysret wants data before code
    .set USER_CODE, 0x23
    .set TSS, 0x28
    .set BUFFER, 0x200000          # 64 KiB that rounds fill and sum
    .set COPY, 0x210000            # where string instructions copy it
    .set POOL, 0x300000            # frames for pages that fault
    .set FRESH, 0x40000000         # addresses that fault once a round

    .section .note, "a"
    .balign 4
    .long 4, 4, 18                 # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long start

    .text
    .code32
    .globl start
start:
    cld
    mov     esp, offset stack_top
    mov     esi, [ebx + 24]        # hvm_start_info.cmdline_paddr, low half
    xor     ecx, ecx
    test    esi, esi
    jz      2f
1:  movzx   eax, byte ptr [esi]
    sub     eax, '0'
    cmp     eax, 9
    ja      2f
    imul    ecx, ecx, 10
    add     ecx, eax
    inc     esi
    jmp     1b
2:  test    ecx, ecx
    jnz     3f
    mov     ecx, 8
3:  mov     [rounds], ecx

    # Identity map of the first GiB in 2 MiB pages, and a page table of its own for FRESH.
    mov     eax, offset pdpt + 7
    mov     [pml4], eax
    mov     eax, offset pd + 7
    mov     [pdpt], eax
    mov     eax, offset pd_fresh + 7
    mov     [pdpt + 8], eax        # FRESH is at 1 GiB
    mov     eax, offset pt_fresh + 7
    mov     [pd_fresh], eax
    mov     eax, 0x87              # present, writable, user, large
    xor     ecx, ecx
1:  mov     [pd + ecx * 8], eax
    add     eax, 0x200000
    inc     ecx
    cmp     ecx, 512
    jb      1b

    mov     eax, offset pml4
    mov     cr3, eax
    mov     eax, 0x20              # CR4.PAE
    mov     cr4, eax
    mov     ecx, 0xc0000080
    mov     eax, 0x101             # EFER.LME, SCE
    xor     edx, edx
    wrmsr
    mov     eax, 0x80010011        # PG, WP, ET, PE
    mov     cr0, eax
    lgdt    [gdt_register]
    push    CODE
    push    offset long_mode
    retf

    .code64
long_mode:
    mov     eax, DATA
    mov     ss, eax
    mov     ds, eax
    mov     es, eax
    mov     rsp, offset stack_top

    # IDT: all vectors lead to `unexpected`, some elsewhere.
    mov     rdi, offset idt
    mov     rax, offset unexpected
    mov     ecx, 256
1:  call    gate
    loop    1b
    .macro  vector number, handler
    mov     rdi, offset idt + 16 * \number
    mov     rax, offset \handler
    call    gate
    .endm
    vector  0, divide_error
    vector  3, breakpoint
    vector  6, invalid_opcode
    vector  14, page_fault
    vector  0x20, timer
    vector  0x24, serial
    vector  0x80, user_done
    mov     byte ptr [idt + 16 * 3 + 5], 0xee       # int3 and int 0x80 from user mode
    mov     byte ptr [idt + 16 * 0x80 + 5], 0xee
    lidt    [idt_register]

    # TSS: the stack for events from user mode.
    mov     rax, offset tss
    mov     rcx, offset interrupt_stack_top
    mov     [rax + 4], rcx
    mov     word ptr [rax + 102], 104
    mov     rdi, offset gdt + TSS
    mov     word ptr [rdi], 103
    mov     [rdi + 2], ax
    shr     rax, 16
    mov     [rdi + 4], al
    mov     byte ptr [rdi + 5], 0x89
    mov     [rdi + 7], ah
    mov     eax, TSS
    ltr     ax

    # syscall: kernel CS 0x08; user SS 0x18 + 3 and CS 0x20 + 3 for sysretq.
    mov     ecx, 0xc0000081        # STAR
    xor     eax, eax
    mov     edx, 0x00100008
    wrmsr
    inc     ecx                    # LSTAR
    mov     rax, offset system_call
    mov     rdx, rax
    shr     rdx, 32
    wrmsr
    mov     ecx, 0xc0000084        # FMASK: IF and DF
    mov     eax, 0x600
    xor     edx, edx
    wrmsr

    # 8259s: vectors 0x20 and 0x28, only IRQ 0 and 4 enabled.
    .macro  outb port, value
    mov     al, \value
    out     \port, al
    .endm
    outb    0x20, 0x11
    outb    0xa0, 0x11
    outb    0x21, 0x20
    outb    0xa1, 0x28
    outb    0x21, 4
    outb    0xa1, 2
    outb    0x21, 1
    outb    0xa1, 1
    outb    0x21, 0xee
    outb    0xa1, 0xff

    # 16550: 115200 baud, 8n1, no FIFO, OUT2 on.
    .macro  uart register, value
    mov     dx, COM1 + \register
    mov     al, \value
    out     dx, al
    .endm
    uart    3, 0x80
    uart    0, 1
    uart    1, 0
    uart    3, 3
    uart    2, 0
    uart    4, 0x0b
    uart    1, 0

    lea     rsi, [rip + hello]
    call    print
    mov     r15, 0x9e3779b97f4a7c15  # the running sum
    xor     r14d, r14d               # the round

round:
    call    fill_and_sum
    call    sort
    call    strings
    call    fresh_page
    call    exceptions
    call    user_mode
    call    sleep
    lea     rsi, [rip + text_round]
    call    print
    mov     rax, r14
    mov     ecx, 4
    call    print_hex
    lea     rsi, [rip + text_sum]
    call    print
    mov     rax, r15
    mov     ecx, 16
    call    print_hex
    lea     rsi, [rip + newline]
    call    print
    inc     r14
    mov     eax, [rip + rounds]
    cmp     r14, rax
    jb      round

    # The last line goes out by interrupts.
    lea     rax, [rip + goodbye]
    mov     [rip + out_next], rax
    uart    1, 2
1:  cli
    mov     rax, [rip + out_next]
    cmp     byte ptr [rax], 0
    je      2f
    sti
    hlt
    jmp     1b
2:  outb    EXIT, 0x2a
3:  cli
    hlt
    jmp     3b

# Writes an interrupt gate to RAX at RDI and moves RDI on.
gate:
    mov     rdx, rax
    mov     [rdi], dx
    mov     word ptr [rdi + 2], CODE
    mov     word ptr [rdi + 4], 0x8e00
    shr     rdx, 16
    mov     [rdi + 6], dx
    shr     rdx, 16
    mov     [rdi + 8], edx
    mov     dword ptr [rdi + 12], 0
    add     rdi, 16
    ret

# Fills BUFFER from the sum and sums it up again.
fill_and_sum:
    mov     rdi, BUFFER
    mov     ecx, 8192
    mov     rax, r15
1:  mov     rdx, 6364136223846793005
    imul    rax, rdx
    add     rax, r14
    rol     rax, 13
    stosq
    loop    1b
    mov     rsi, BUFFER
    mov     ecx, 8192
    xor     edx, edx
    clc
1:  lodsq
    adc     rdx, rax
    rcr     rdx, 3
    dec     ecx
    jnz     1b
    xor     r15, rdx
    ret

# Sorts 200 words of BUFFER and folds them into the sum.
sort:
    mov     rbx, BUFFER
    mov     ecx, 1
1:  cmp     ecx, 200
    jae     4f
    mov     eax, [rbx + rcx * 4]
    mov     edx, ecx
2:  test    edx, edx
    jz      3f
    mov     esi, [rbx + rdx * 4 - 4]
    cmp     esi, eax
    jbe     3f
    mov     [rbx + rdx * 4], esi
    dec     edx
    jmp     2b
3:  mov     [rbx + rdx * 4], eax
    inc     ecx
    jmp     1b
4:  xor     ecx, ecx
    mov     eax, -1
5:
    mov     edx, [rbx + rcx * 4]
    bswap   edx
    xor     eax, edx
    shld    eax, edx, 7
    inc     ecx
    cmp     ecx, 200
    jb      5b
    add     r15, rax
    ret

# Copies, compares and searches with string instructions.
strings:
    mov     rsi, BUFFER
    mov     rdi, COPY
    mov     ecx, 65536
    rep movsb
    mov     rsi, BUFFER + 5
    mov     rdi, BUFFER + 1
    mov     ecx, 4000
    rep movsd
    std
    mov     rsi, COPY + 30000
    mov     rdi, COPY + 30013
    mov     ecx, 20000
    rep movsb
    cld
    mov     rsi, BUFFER
    mov     rdi, COPY
    mov     ecx, 8192
    repe cmpsq
    lahf
    movzx   eax, ah
    lea     rdx, [rcx + rax]
    add     r15, rdx
    mov     rdi, COPY
    mov     ecx, 65536
    mov     al, r15b
    repne scasb
    rol     r15, cl
    add     r15, rcx
    ret

# Touches a page that is not there; the handler maps it. Then looks at its accessed and dirty bits, and unmaps it.
fresh_page:
    mov     rbx, r14
    and     ebx, 511
    mov     rdi, rbx
    shl     rdi, 12
    add     rdi, FRESH
    mov     rsi, offset pt_fresh
    lea     rsi, [rsi + rbx * 8]
    mov     rax, [rdi + 8]         # faults; maps
    mov     rdx, [rsi]
    mov     [rdi + 16], r15
    mov     rcx, [rsi]
    shl     rcx, 8
    or      rdx, rcx
    and     rdx, 0x6060            # A and D before the store and after
    add     r15, rdx
    add     r15, [rdi + 16]
    mov     qword ptr [rsi], 0
    invlpg  [rdi]
    add     r15, [rip + faults]
    ret

exceptions:
    xor     edx, edx
    mov     eax, 5
    xor     ecx, ecx
    div     ecx                    # two bytes; the handler steps over them
    ud2
    int3
    add     r15, [rip + counts]
    add     r15, [rip + counts + 8]
    add     r15, [rip + counts + 16]
    ret

# Runs `user` in user mode until it comes back by int 0x80.
user_mode:
    mov     [rip + kernel_stack], rsp
    push    USER_DATA
    mov     rax, offset user_stack_top
    push    rax
    push    0x202
    push    USER_CODE
    lea     rax, [rip + user]
    push    rax
    iretq
user_done:                         # with interrupts off, on the interrupt stack
    mov     rsp, [rip + kernel_stack]
    add     r15, rdi
    ret

user:
    mov     rdi, r15
    mov     ebx, 5
1:  mov     rsi, rbx
    syscall                        # RDI = RDI * 31 + RSI
    int3
    push    rdi
    pop     rax
    bsr     rdx, rax
    btc     rdi, rdx
    dec     ebx
    jnz     1b
    int     0x80

system_call:
    mov     [rip + user_stack_pointer], rsp
    mov     rsp, offset stack_top - 4096
    push    rcx
    push    r11
    imul    rdi, rdi, 31
    add     rdi, rsi
    pop     r11
    pop     rcx
    mov     rsp, [rip + user_stack_pointer]
    sysretq

# Sleeps for a millisecond: counter 0 of the PIT in mode 0.
sleep:
    mov     dword ptr [rip + ticked], 0
    outb    0x43, 0x30
    outb    0x40, 0xa9
    outb    0x40, 0x04
1:  cli
    cmp     dword ptr [rip + ticked], 0
    jne     2f
    sti
    hlt
    jmp     1b
2:  ret

timer:
    push    rax
    inc     dword ptr [rip + ticked]
    outb    0x20, 0x20
    pop     rax
    iretq

# The transmitter is empty: the next character, or no more interrupts.
serial:
    push    rax
    push    rdx
    push    rsi
    mov     dx, COM1 + 2
    in      al, dx
    mov     rsi, [rip + out_next]
    mov     al, [rsi]
    test    al, al
    jz      1f
    inc     rsi
    mov     [rip + out_next], rsi
    mov     dx, COM1
    out     dx, al
    cmp     byte ptr [rsi], 0
    jne     2f
1:  mov     dx, COM1 + 1
    xor     eax, eax
    out     dx, al
2:  outb    0x20, 0x20
    pop     rsi
    pop     rdx
    pop     rax
    iretq

divide_error:
    inc     qword ptr [rip + counts]
    add     qword ptr [rsp], 2
    iretq
invalid_opcode:
    inc     qword ptr [rip + counts + 8]
    add     qword ptr [rsp], 2
    iretq
breakpoint:
    inc     qword ptr [rip + counts + 16]
    iretq

# Maps the page at CR2 to its frame in POOL; adds address and error code to `faults`.
page_fault:
    push    rax
    push    rdx
    mov     rax, cr2
    mov     rdx, [rsp + 16]
    add     [rip + faults], rdx
    add     [rip + faults], rax
    mov     rdx, FRESH
    sub     rax, rdx
    cmp     rax, 0x200000
    jae     unexpected
    shr     rax, 12
    mov     rdx, rax
    and     edx, 15
    shl     edx, 12
    add     edx, POOL + 3          # present, writable
    push    rbx
    mov     rbx, offset pt_fresh
    mov     [rbx + rax * 8], rdx
    pop     rbx
    pop     rdx
    pop     rax
    add     rsp, 8
    iretq

unexpected:
    lea     rsi, [rip + text_unexpected]
    call    print
    mov     rax, cr2
    mov     ecx, 16
    call    print_hex
    mov     ebx, 5                 # what the exception pushed
1:  lea     rsi, [rip + text_space]
    call    print
    pop     rax
    mov     ecx, 16
    call    print_hex
    dec     ebx
    jnz     1b
    lea     rsi, [rip + newline]
    call    print
    outb    EXIT, 0x01
1:  hlt
    jmp     1b

# Prints the text at RSI.
print:
    push    rax
    push    rdx
1:  lodsb
    test    al, al
    jz      2f
    call    put
    jmp     1b
2:  pop     rdx
    pop     rax
    ret

# Prints the low ECX digits of RAX.
print_hex:
    mov     rbx, rax
    mov     edx, ecx
    shl     ecx, 2
    neg     ecx
    add     ecx, 64
    shl     rbx, cl
    mov     ecx, edx
1:  rol     rbx, 4
    mov     eax, ebx
    and     eax, 15
    lea     rdx, [rip + digits]
    mov     al, [rdx + rax]
    call    put
    loop    1b
    ret

# Prints AL, when the transmitter is empty.
put:
    push    rcx
    mov     cl, al
    mov     dx, COM1 + 5
1:  in      al, dx
    test    al, 0x20
    jz      1b
    mov     dx, COM1
    mov     al, cl
    out     dx, al
    pop     rcx
    ret

    .section .rodata, "a"
hello:          .asciz "rounds: long mode\r\n"
text_round:     .asciz "round "
text_sum:       .asciz " sum "
newline:        .asciz "\r\n"
text_space:     .asciz " "
text_unexpected:.asciz "unexpected: cr2 "
goodbye:        .asciz "rounds: done\r\n"
digits:         .ascii "0123456789abcdef"

    .data
    .balign 8
gdt:
    .quad   0
    .quad   0x00af9b000000ffff     # 08 kernel code
    .quad   0x00cf93000000ffff     # 10 kernel data
    .quad   0x00cff3000000ffff     # 18 user data
    .quad   0x00affb000000ffff     # 20 user code
    .quad   0, 0                   # 28 TSS
gdt_end:
gdt_register:
    .word   gdt_end - gdt - 1
    .quad   gdt
idt_register:
    .word   256 * 16 - 1
    .quad   idt
    .balign 8
rounds:         .quad 0
ticked:         .quad 0
faults:         .quad 0
counts:         .quad 0, 0, 0
out_next:       .quad 0
kernel_stack:   .quad 0
user_stack_pointer: .quad 0

    .bss
    .balign 4096
pml4:           .skip 4096
pdpt:           .skip 4096
pd:             .skip 4096
pd_fresh:       .skip 4096
pt_fresh:       .skip 4096
idt:            .skip 4096
tss:            .skip 128
    .balign 16
                .skip 16384
stack_top:
                .skip 4096
interrupt_stack_top:
                .skip 4096
user_stack_top:
