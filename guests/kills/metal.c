/* The guest without an operating system: a driver of the first virtio disk (VIRTIO 1.3, sections 4.2 and 5.2) that keeps
 * it busy with many requests at a time, and looks for their ends instead of taking interrupts. */
#include "kills.h"

#define UART ((volatile u8 *)0x10000000)
#define DISK ((volatile u32 *)0x10001000)
/* Registers of the transport, as words. */
enum { MAGIC = 0x00 / 4, DEVICE = 0x08 / 4, OFFERED = 0x10 / 4, OFFERED_SEL = 0x14 / 4, TAKEN = 0x20 / 4,
       TAKEN_SEL = 0x24 / 4, QUEUE_SEL = 0x30 / 4, QUEUE_MOST = 0x34 / 4, QUEUE_SIZE = 0x38 / 4, QUEUE_READY = 0x44 / 4,
       NOTIFY = 0x50 / 4, STATUS = 0x70 / 4, TABLE = 0x80 / 4, AVAILABLE = 0x90 / 4, USED = 0xa0 / 4 };
#define VERSION_1_HIGH (1u << 0)
#define FLUSH (1u << 9)
#define WRITE_ZEROES (1u << 14)
enum { T_OUT = 1, T_FLUSH = 4, T_WRITE_ZEROES = 13 };

/* Requests at a time; the last one is the flush. */
#define SLOTS 17
#define SIZE 64

static struct { u64 address; u32 length; u16 flags, next; } table[SIZE] __attribute__((aligned(4096)));
static struct { u16 flags, index, ring[SIZE]; } available __attribute__((aligned(4096)));
static struct { u16 flags, index; struct { u32 id, length; } ring[SIZE]; } used __attribute__((aligned(4096)));
static struct { u32 type, reserved; u64 sector; } headers[SLOTS];
static struct { u64 sector; u32 sectors, flags; } ranges[SLOTS];
static u64 data[SLOTS][MOST * BLOCK / 8] __attribute__((aligned(4096)));
static volatile u8 states[SLOTS];
static u8 busy[SLOTS];
static u64 flushing;
static u16 seen;

void say(const char *text)
{
    for (; *text; text++) {
        while (!(UART[5] & 0x20))             /* LSR.THRE */
            ;
        UART[0] = *text;
    }
}

static void fail(const char *why, u64 number)
{
    tell(why, number);
    for (;;)
        ;
}

void trapped(u64 cause, u64 pc)
{
    tell("failed: trap at", pc);
    fail("failed: cause", cause);
}

/* Takes what the disk is done with. */
static void look(void)
{
    while (__atomic_load_n(&used.index, __ATOMIC_ACQUIRE) != seen) {
        u32 slot = used.ring[seen++ % SIZE].id / 3;
        if (slot >= SLOTS || !busy[slot] || states[slot])
            fail("failed: request", slot < SLOTS ? states[slot] : 1000 + slot);
        busy[slot] = 0;
        if (slot == SLOTS - 1)
            tell("flushed", flushing);
    }
}

static void submit(u32 slot, u32 type, u64 sector, void *bytes, u32 length)
{
    u32 at = 3 * slot;
    headers[slot].type = type;
    headers[slot].sector = sector;
    states[slot] = 0xff;
    busy[slot] = 1;
    table[at].address = (u64)&headers[slot];
    table[at].length = 16;
    table[at].flags = 1;                      /* NEXT */
    table[at].next = length ? at + 1 : at + 2;
    table[at + 1].address = (u64)bytes;
    table[at + 1].length = length;
    table[at + 1].flags = 1;
    table[at + 1].next = at + 2;
    table[at + 2].address = (u64)&states[slot];
    table[at + 2].length = 1;
    table[at + 2].flags = 2;                  /* WRITE */
    available.ring[available.index % SIZE] = at;
    __atomic_store_n(&available.index, available.index + 1, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    DISK[NOTIFY] = 0;
}

void begin(u64 number, struct event event)
{
    u32 slot = 0;
    for (look(); busy[slot]; look())
        slot = (slot + 1) % (SLOTS - 1);
    if (event.zero) {
        ranges[slot].sector = event.first * (BLOCK / 512);
        ranges[slot].sectors = event.count * (BLOCK / 512);
        ranges[slot].flags = number & 1;      /* may unmap */
        return submit(slot, T_WRITE_ZEROES, 0, &ranges[slot], 16);
    }
    for (u64 at = 0; at < event.count * (u64)BLOCK / 8; at++)
        data[slot][at] = number;
    submit(slot, T_OUT, event.first * (BLOCK / 512), data[slot], event.count * BLOCK);
}

/* The next batch is on its way while this one is flushed. */
void flush(u64 batch)
{
    for (u32 slot = 0; slot < SLOTS; slot++)
        while (busy[slot])
            look();
    flushing = batch;
    submit(SLOTS - 1, T_FLUSH, 0, 0, 0);
}

static void set_up(void)
{
    if (DISK[MAGIC] != 0x74726976 || DISK[DEVICE] != 2)
        fail("failed: no disk but", DISK[DEVICE]);
    DISK[STATUS] = 0;
    DISK[STATUS] = 3;                         /* ACKNOWLEDGE, DRIVER */
    DISK[OFFERED_SEL] = 0;
    u32 wanted = FLUSH | WRITE_ZEROES;
    if ((DISK[OFFERED] & wanted) != wanted)
        fail("failed: features", DISK[OFFERED]);
    DISK[TAKEN_SEL] = 0;
    DISK[TAKEN] = wanted;
    DISK[TAKEN_SEL] = 1;
    DISK[TAKEN] = VERSION_1_HIGH;
    DISK[STATUS] = 11;                        /* FEATURES_OK */
    DISK[QUEUE_SEL] = 0;
    if (DISK[QUEUE_MOST] < SIZE || !(DISK[STATUS] & 8))
        fail("failed: queue", DISK[QUEUE_MOST]);
    DISK[QUEUE_SIZE] = SIZE;
    u64 parts[3] = { (u64)&table, (u64)&available, (u64)&used };
    u32 registers[3] = { TABLE, AVAILABLE, USED };
    for (u32 i = 0; i < 3; i++) {
        DISK[registers[i]] = parts[i];
        DISK[registers[i] + 1] = parts[i] >> 32;
    }
    DISK[QUEUE_READY] = 1;
    DISK[STATUS] = 15;                        /* DRIVER_OK */
}

/* The kernel's command line is somewhere in the device tree, and its header says how long that is. */
void start(const u8 *tree)
{
    u32 length = tree[4] << 24 | tree[5] << 16 | tree[6] << 8 | tree[7];
    for (u32 at = 8; at + 6 < length; at++) {
        const u8 *t = tree + at;
        if (t[0] == 'k' && t[1] == 'i' && t[2] == 'l' && t[3] == 'l' && t[4] == 's' && t[5] == '=') {
            set_up();
            write_for_ever((const char *)t + 6);
        }
    }
    fail("failed: no parameters in", length);
}

/* The compiler may call these. */
void *memset(void *into, int value, u64 count)
{
    for (u8 *at = into; count--;)
        *at++ = value;
    return into;
}

void *memcpy(void *into, const void *from, u64 count)
{
    u8 *to = into;
    for (const u8 *at = from; count--;)
        *to++ = *at++;
    return into;
}
