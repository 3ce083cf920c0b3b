/* Dependent loads: a random cycle through CELLS cells of 64 bytes, followed pointer by pointer. */
#include "bench.h"

struct cell { struct cell *next; u64 value; u64 rest[6]; };
static struct cell cells[CELLS] __attribute__((aligned(64)));

void kernel_setup(void)
{
    static u32 order[CELLS];
    u64 state = 3;
    for (u32 n = 0; n < CELLS; n++)
        order[n] = n;
    for (u32 n = CELLS - 1; n > 0; n--) {
        u32 other = next_random(&state) % (n + 1), t = order[n];
        order[n] = order[other];
        order[other] = t;
    }
    for (u32 n = 0; n < CELLS; n++) {
        cells[order[n]].next = &cells[order[(n + 1) % CELLS]];
        cells[order[n]].value = order[n];
    }
}

u64 kernel_run(u64 rounds)
{
    struct cell *at = cells;
    for (u64 n = 0; n < rounds; n++)
        at = at->next;
    return at->value;
}
