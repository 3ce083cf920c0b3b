/* Calls and returns: Fibonacci numbers by their definition. */
#include "bench.h"

const char kernel_name[] = "fib";
const u64 kernel_rounds = 2;

static NOINLINE u64 fib(u64 n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

u64 kernel_run(u64 rounds)
{
    u64 sum = 0;
    for (u64 n = 0; n < rounds; n++)
        sum = mix(sum, fib(35 + (n & 1)));
    return sum;
}
