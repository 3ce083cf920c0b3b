/* Single operations: each is a loop in micro.S that does `per_turn` of them a turn, next to a loop of the same shape
 * without them. The part NAME.empty is the latter; the difference of the times is that of the operations. */
#include "bench.h"

#ifndef ROUNDS
#define ROUNDS 0
#endif
#ifdef OP_pages_16384
#define PAGES 16384
#else
#define PAGES 8192
#endif
/* Pages at a distance that spreads their lines over the sets of a cache, for loops over pages; 32 MiB at least. */
char pages[PAGES * 4160 + 4096] __attribute__((aligned(4096)));

u64 micro_empty(u64 turns, char *memory);
u64 micro_full(u64 turns, char *memory);
void micro_before(void);
void micro_after(void);
extern const u64 per_turn, turns;
extern const char micro_name[], micro_empty_name[];

int kernel_parts(void)
{
    for (u64 n = 0; n < sizeof pages; n += 64)
        *(volatile u64 *)(pages + n) = n;
    u64 many = ROUNDS ? ROUNDS : turns;
    micro_before();
    /* First without a clock, so that what can be translated and cached is. */
    micro_empty(many / 8 + 1, pages);
    micro_full(many / 8 + 1, pages);
    begin(micro_empty_name);
    u64 sum = micro_empty(many, pages);
    end(micro_empty_name, sum, many * per_turn);
    begin(micro_name);
    sum = micro_full(many, pages);
    end(micro_name, sum, many * per_turn);
    micro_after();
    return 0;
}

const char kernel_name[] = "";
const u64 kernel_rounds = 0;
u64 kernel_run(u64 rounds) { return rounds; }
