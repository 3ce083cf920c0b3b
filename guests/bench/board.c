/* The bare-metal forms' side of the frame: UART, clock, end, harts and page tables of the `virt` board. */
#include "bench.h"

#define UART ((volatile u8 *)0x10000000)      /* ns16550 */
#define FINISHER ((volatile u32 *)0x100000)   /* sifive_test */

const u64 ticks_per_second = 10000000;

void say(const char *text)
{
    for (; *text; text++) {
        while (!(UART[5] & 0x20))             /* LSR.THRE */
            ;
        UART[0] = *text;
    }
}

/* The compiler may call this for an initialiser. */
void *memset(void *into, int value, u64 count)
{
    for (u8 *at = into; count--;)
        *at++ = value;
    return into;
}

u64 ticks(void)
{
    u64 now;
    asm volatile("rdtime %0" : "=r"(now));
    return now;
}

void finish(int status)
{
    *FINISHER = status ? (u32)status << 16 | 0x3333 : 0x5555;
    for (;;)
        ;
}

void died(u64 cause, u64 pc)
{
    say("unexpected trap: cause ");
    say_number(cause);
    say(" at ");
    say_number(pc);
    say("\n");
    finish(1);
}

/* The second hart waits here for work. */
static void (*volatile the_work)(unsigned);
static volatile u32 posted, done, present;

void helper(unsigned hart)
{
    (void)hart;
    present = 1;
    for (u32 seen = 0;;) {
        if (__atomic_load_n(&posted, __ATOMIC_ACQUIRE) == seen)
            continue;
        seen++;
        the_work(1);
        __atomic_store_n(&done, seen, __ATOMIC_RELEASE);
    }
}

unsigned workers(void)
{
    /* A second hart says so within a few milliseconds, if there is one. */
    for (u64 until = ticks() + ticks_per_second / 20; ticks() < until && !present;)
        ;
    return present ? 2 : 1;
}

void together(unsigned count, void (*work)(unsigned))
{
    if (count > 1) {
        the_work = work;
        __atomic_store_n(&posted, posted + 1, __ATOMIC_RELEASE);
    }
    work(0);
    if (count > 1)
        while (__atomic_load_n(&done, __ATOMIC_ACQUIRE) != posted)
            ;
}

#ifdef SV39
/* Everything at its own address, in pages of 4 KiB: 128 MiB of RAM, and the pages of the two devices. */
#define RAM 0x80000000ul
#define PAGES 32768
#define PAGE_TABLE 1ul                        /* V */
#define KERNEL 0xcful                         /* D A X W R V */
#define USER 0xdbul                           /* D A U X R V */

extern char user_page[];
u64 root_table[512] __attribute__((aligned(4096)));
static u64 device_root[512] __attribute__((aligned(4096)));
static u64 device_leaf[2][512] __attribute__((aligned(4096)));
static u64 ram_root[512] __attribute__((aligned(4096)));
static u64 leaves[PAGES] __attribute__((aligned(4096)));

static u64 to(const void *table) { return (u64)table >> 12 << 10 | PAGE_TABLE; }
static u64 at(u64 address, u64 flags) { return address >> 12 << 10 | flags; }

void build_tables(void)
{
    root_table[0] = to(device_root);
    root_table[RAM >> 30] = to(ram_root);
    for (u64 n = 0; n < PAGES / 512; n++)
        ram_root[n] = to(leaves + 512 * n);
    for (u64 n = 0; n < PAGES; n++)
        leaves[n] = at(RAM + n * 4096, KERNEL);
    leaves[((u64)user_page - RAM) >> 12] = at((u64)user_page, USER);
    u64 devices[] = {(u64)FINISHER, (u64)UART};
    for (int n = 0; n < 2; n++) {
        device_root[devices[n] >> 21 & 511] = to(device_leaf[n]);
        device_leaf[n][devices[n] >> 12 & 511] = at(devices[n], 0xc7);
    }
}
#endif
