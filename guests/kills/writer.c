/* Writes to a disk until its machine is killed: batches of events, each batch behind the flush of the one before it. When
 * a flush is done it says so, and from then on the batch must outlive a kill. What an event does is a function of the
 * seed and its number; `xtask/src/kills_plan.rs` has the same function. */
#include "kills.h"

static u64 seed;

/* SplitMix64's mixing function (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014). */
static u64 mixed(u64 n)
{
    n = (n ^ (n >> 30)) * 0xbf58476d1ce4e5b9;
    n = (n ^ (n >> 27)) * 0x94d049bb133111eb;
    return n ^ (n >> 31);
}

static u64 chance(u64 number)
{
    return mixed(seed + number * 0x9e3779b97f4a7c15);
}

/* Half of the events are in a small part of the disk, so that some blocks are written again and again. */
static struct event plan(u64 number)
{
    u64 h = chance(number);
    struct event event = { .zero = h % 8 == 0 };
    event.first = (h >> 20) % (h >> 16 & 1 ? 64 : BLOCKS);
    if (event.zero && h >> 3 & 1) {
        event.first &= ~15ul;                 /* whole clusters of 64 KiB */
        event.count = 16;
    } else {
        event.count = (h >> 8) % 8 < 5 ? 1 : 1 + (h >> 11) % MOST;
    }
    if (event.count > BLOCKS - event.first)
        event.count = BLOCKS - event.first;
    return event;
}

void tell(const char *word, u64 number)
{
    char line[64], digits[20];
    u32 n = 0, at = 0;
    while (*word)
        line[at++] = *word++;
    line[at++] = ' ';
    do
        digits[n++] = '0' + number % 10;
    while (number /= 10);
    while (n)
        line[at++] = digits[--n];
    line[at++] = '\n';
    line[at] = 0;
    say(line);
}

static u64 number_at(const char **text)
{
    u64 number = 0;
    while (**text >= '0' && **text <= '9')
        number = number * 10 + *(*text)++ - '0';
    return number;
}

void write_for_ever(const char *text)
{
    seed = number_at(&text);
    if (*text)
        text++;
    for (u64 batch = number_at(&text);; batch++) {
        u64 first = batch * 64, count = 1 + chance(first + 63) % 32;
        for (u64 number = first; number < first + count; number++)
            begin(number, plan(number));
        flush(batch);
    }
}
