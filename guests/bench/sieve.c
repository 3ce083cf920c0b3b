/* Byte stores with a stride: the sieve of Eratosthenes. */
#include "bench.h"

#define LIMIT 4000000
const char kernel_name[] = "sieve";
const u64 kernel_rounds = 8;
static u8 composite[LIMIT];

u64 kernel_run(u64 rounds)
{
    u64 sum = 0;
    for (u64 round = 0; round < rounds; round++) {
        for (u64 n = 0; n < LIMIT; n++)
            composite[n] = 0;
        u64 primes = 0;
        for (u64 n = 2; n < LIMIT; n++) {
            if (composite[n])
                continue;
            primes++;
            for (u64 multiple = n * n; multiple < LIMIT; multiple += n)
                composite[multiple] = 1;
        }
        sum = mix(sum, primes);
    }
    return sum;
}
