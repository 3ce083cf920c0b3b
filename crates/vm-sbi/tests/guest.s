# A guest of two harts that enters in S-mode and uses the firmware for everything.
# Linked at 0x80200000 (so that it also runs on QEMU with OpenSBI): riscv64-linux-gnu-as
# -march=rv64gc_zicsr, ld -Ttext=0x80200000, objcopy -O binary to guest.bin.
# a0 is the hart ID, a1 the opaque parameter. Memory at 0x80201000: 0 word of hart 1, 8 scause of
# hart 0's interrupt, 16 scause of hart 1's interrupt.
	.option	norelax
_start:
	li	s0, 0x80201000
	la	t0, trap0
	csrw	stvec, t0
	li	t0, 0x22		# STIE, SSIE
	csrw	sie, t0
	li	a0, 1			# sbi_hart_start(1, secondary, 0x55)
	la	a1, secondary
	li	a2, 0x55
	li	a6, 0
	li	a7, 0x48534d
	ecall
	bnez	a0, fail
1:	ld	t0, 0(s0)		# until hart 1 has stored its parameter
	li	t1, 0x55
	bne	t0, t1, 1b
	li	a0, 2			# sbi_send_ipi(2, 0)
	li	a1, 0
	li	a6, 0
	li	a7, 0x735049
	ecall
	bnez	a0, fail
1:	ld	t0, 16(s0)		# until hart 1 has taken it
	beqz	t0, 1b
	rdtime	a0			# sbi_set_timer(now + 2000)
	li	t0, 2000
	add	a0, a0, t0
	li	a6, 0
	li	a7, 0x54494d45
	ecall
	bnez	a0, fail
1:	wfi				# ends although SIE is off
	csrsi	sstatus, 2		# SIE
	csrci	sstatus, 2
	ld	t0, 8(s0)		# until the timer interrupt was taken
	beqz	t0, 1b
	li	a0, 1			# sbi_remote_fence_i(1, 0)
	li	a1, 0
	li	a6, 0
	li	a7, 0x52464e43
	ecall
	bnez	a0, fail
	li	a7, 0x48534d		# sbi_hart_get_status(1) until STOPPED
2:	li	a0, 1
	li	a6, 2
	ecall
	bnez	a0, fail
	li	t0, 1
	bne	a1, t0, 2b
	li	a0, 3			# sbi_debug_console_write(3, text, 0)
	la	a1, text
	li	a2, 0
	li	a6, 0
	li	a7, 0x4442434e
	ecall
	bnez	a0, fail
	li	a0, 0			# sbi_system_reset(0, 0)
	li	a1, 0
	li	a7, 0x53525354
	ecall
fail:	j	fail

	.balign	4
trap0:	csrr	t2, scause		# only the timer comes here
	sd	t2, 8(s0)
	li	a0, -1
	li	a6, 0
	li	a7, 0x54494d45
	ecall
	sret

secondary:
	li	s0, 0x80201000
	la	t0, trap1
	csrw	stvec, t0
	csrwi	sie, 2			# SSIE
	sd	a1, 0(s0)
	li	a0, 0			# sbi_hart_suspend(0, 0, 0) until the IPI
	li	a6, 3
	li	a7, 0x48534d
	ecall
	bnez	a0, fail
	csrsi	sstatus, 2		# SIE
1:	j	1b

	.balign	4
trap1:	csrr	t2, scause
	sd	t2, 16(s0)
	csrci	sip, 2			# SSIP
	li	a6, 1			# sbi_hart_stop
	li	a7, 0x48534d
	ecall
	j	fail
text:	.ascii	"ok\n"
