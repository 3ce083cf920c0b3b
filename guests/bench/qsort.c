/* Indirect calls: quicksort of records through a comparison function, as C libraries do it. */
#include "bench.h"

#define COUNT 200000
const char kernel_name[] = "qsort";
const u64 kernel_rounds = 5;

struct record { u32 key, payload; };
static struct record records[COUNT];
typedef int (*comparison)(const void *, const void *);

static NOINLINE int by_key(const void *a, const void *b)
{
    u32 x = ((const struct record *)a)->key, y = ((const struct record *)b)->key;
    return (x > y) - (x < y);
}

static NOINLINE int by_payload(const void *a, const void *b)
{
    u32 x = ((const struct record *)a)->payload, y = ((const struct record *)b)->payload;
    return (x > y) - (x < y);
}

static void swap(struct record *a, struct record *b)
{
    struct record t = *a;
    *a = *b;
    *b = t;
}

static NOINLINE void sort(struct record *low, struct record *high, comparison compare)
{
    while (high - low > 12) {
        struct record *middle = low + (high - low) / 2;
        if (compare(middle, low) < 0)
            swap(middle, low);
        if (compare(high - 1, middle) < 0) {
            swap(high - 1, middle);
            if (compare(middle, low) < 0)
                swap(middle, low);
        }
        struct record pivot = *middle, *left = low, *right = high - 1;
        for (;;) {
            while (compare(left, &pivot) < 0)
                left++;
            while (compare(&pivot, right) < 0)
                right--;
            if (left >= right)
                break;
            swap(left++, right--);
        }
        struct record *cut = left;
        /* The shorter part by recursion, the longer one here. */
        if (cut - low < high - cut) {
            sort(low, cut, compare);
            low = cut;
        } else {
            sort(cut, high, compare);
            high = cut;
        }
    }
    for (struct record *next = low + 1; next < high; next++)
        for (struct record *at = next; at > low && compare(at, at - 1) < 0; at--)
            swap(at, at - 1);
}

u64 kernel_run(u64 rounds)
{
    static comparison volatile which[2] = {by_key, by_payload};
    u64 sum = 0, state = 7;
    for (u64 round = 0; round < rounds; round++) {
        for (u32 n = 0; n < COUNT; n++)
            records[n] = (struct record){next_random(&state), next_random(&state)};
        sort(records, records + COUNT, which[round & 1]);
        for (u32 n = 0; n < COUNT; n += 97)
            sum = mix(sum, round & 1 ? records[n].payload : records[n].key);
        for (u32 n = 1; n < COUNT; n++)
            sum += which[round & 1](records + n - 1, records + n) > 0;
    }
    return sum;
}
