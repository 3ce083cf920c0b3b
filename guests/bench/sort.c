/* Sorting with the comparison in line: heapsort, merge sort and radix sort of the same numbers. */
#include "bench.h"

#define COUNT 65536
const char kernel_name[] = "sort";
const u64 kernel_rounds = 15;
static u32 numbers[COUNT], heap[COUNT], merged[COUNT], spare[COUNT], digits[COUNT];

static void sift(u32 *of, u32 at, u32 count)
{
    u32 value = of[at];
    for (u32 child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && of[child + 1] > of[child])
            child++;
        if (of[child] <= value)
            break;
        of[at] = of[child];
    }
    of[at] = value;
}

static NOINLINE void heapsort(u32 *of, u32 count)
{
    for (u32 at = count / 2; at-- > 0;)
        sift(of, at, count);
    while (count-- > 1) {
        u32 greatest = of[0];
        of[0] = of[count];
        of[count] = greatest;
        sift(of, 0, count);
    }
}

static NOINLINE void merge_sort(u32 *of, u32 *space, u32 count)
{
    if (count < 2)
        return;
    u32 half = count / 2;
    merge_sort(of, space, half);
    merge_sort(of + half, space, count - half);
    for (u32 n = 0; n < half; n++)
        space[n] = of[n];
    u32 left = 0, right = half, into = 0;
    while (left < half && right < count)
        of[into++] = space[left] <= of[right] ? space[left++] : of[right++];
    while (left < half)
        of[into++] = space[left++];
}

static NOINLINE void radix_sort(u32 *of, u32 *space, u32 count)
{
    for (int shift = 0; shift < 32; shift += 8) {
        u32 starts[257] = {0};
        for (u32 n = 0; n < count; n++)
            starts[(of[n] >> shift & 255) + 1]++;
        for (int n = 0; n < 256; n++)
            starts[n + 1] += starts[n];
        for (u32 n = 0; n < count; n++)
            space[starts[of[n] >> shift & 255]++] = of[n];
        u32 *t = of;
        of = space;
        space = t;
    }
}

u64 kernel_run(u64 rounds)
{
    u64 sum = 0, state = 17;
    for (u64 round = 0; round < rounds; round++) {
        for (u32 n = 0; n < COUNT; n++)
            heap[n] = merged[n] = digits[n] = numbers[n] = next_random(&state);
        heapsort(heap, COUNT);
        merge_sort(merged, spare, COUNT);
        radix_sort(digits, spare, COUNT);
        for (u32 n = 0; n < COUNT; n++)
            sum = mix(sum, heap[n] == merged[n] && merged[n] == digits[n] ? heap[n] : 0);
    }
    return sum;
}
