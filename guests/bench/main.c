/* The frame around a kernel: it says when each part begins and ends, and whoever reads the lines takes the time. */
#include "bench.h"

#ifndef ROUNDS
#define ROUNDS 0
#endif

static u64 began;

void say_number(u64 value)
{
    char text[21];
    int at = 20;
    text[at] = 0;
    do {
        text[--at] = '0' + value % 10;
        value /= 10;
    } while (value);
    say(text + at);
}

static void say_hex(u64 value)
{
    char text[17];
    for (int n = 0; n < 16; n++)
        text[n] = "0123456789abcdef"[value >> (60 - 4 * n) & 15];
    text[16] = 0;
    say(text);
}

void begin(const char *name)
{
    say("begin ");
    say(name);
    say("\n");
    began = ticks();
}

/* The line: end NAME CHECKSUM UNITS NANOSECONDS-BY-THE-GUEST'S-CLOCK. */
void end(const char *name, u64 checksum, u64 units)
{
    u64 took = ticks() - began;
    say("end ");
    say(name);
    say(" ");
    say_hex(checksum);
    say(" ");
    say_number(units);
    say(" ");
    say_number(took * (1000000000ul / ticks_per_second));
    say("\n");
}

__attribute__((weak)) void kernel_setup(void) {}

__attribute__((weak)) int kernel_parts(void)
{
    u64 rounds = ROUNDS ? ROUNDS : kernel_rounds;
    begin(kernel_name);
    u64 sum = kernel_run(rounds);
    end(kernel_name, sum, rounds);
    return 0;
}

int main(void)
{
    kernel_setup();
    return kernel_parts();
}
