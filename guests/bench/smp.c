/* Many harts: the same work on one hart and on two at once, each on memory of its own, with a shared counter. */
#include "bench.h"

#ifndef ROUNDS
#define ROUNDS 0
#endif
const char kernel_name[] = "smp";
const u64 kernel_rounds = 20000;
static u64 memory[2][4096] __attribute__((aligned(4096)));
static u64 sums[2];
static u64 shared __attribute__((aligned(64)));

static void work(unsigned who)
{
    u64 *mine = memory[who], sum = 0, state = 1;
    for (u64 n = 0; n < 4096; n++)
        mine[n] = next_random(&state);
    for (u64 round = 0; round < (ROUNDS ? ROUNDS : kernel_rounds); round++) {
        for (u64 n = 0; n < 4096; n++) {
            u64 at = mine[n] & 4095;
            mine[at] += sum >> 7;
            sum = mix(sum, mine[n]);
        }
        __atomic_fetch_add(&shared, 1, __ATOMIC_RELAXED);
    }
    sums[who] = sum;
}

int kernel_parts(void)
{
    u64 rounds = ROUNDS ? ROUNDS : kernel_rounds;
    begin("smp.1");
    together(1, work);
    end("smp.1", mix(sums[0], shared), rounds);
    if (workers() < 2) {
        say("there is no second hart\n");
        return 1;
    }
    begin("smp.2");
    together(2, work);
    end("smp.2", mix(mix(sums[0], sums[1]), shared), 2 * rounds);
    return 0;
}

u64 kernel_run(u64 rounds) { return rounds; }
