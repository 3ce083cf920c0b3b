/* Memory copies: words, bytes from an odd address, and a fill, of blocks from 64 bytes to 256 KiB. */
#include "bench.h"

#define SIZE (256 * 1024)
const char kernel_name[] = "copy";
const u64 kernel_rounds = 1500;
/* The gap keeps the two apart by a number of pages that is no power of two: else they might meet at one entry of a
 * small TLB, and that alone would be measured. */
static struct {
    u64 from[SIZE / 8 + 1];
    u64 gap[9000];
    u64 to[SIZE / 8 + 1];
} memory __attribute__((aligned(4096)));
#define from memory.from
#define to memory.to

static NOINLINE void copy_words(u64 *into, const u64 *out_of, u64 count)
{
    for (; count >= 4; count -= 4, into += 4, out_of += 4) {
        u64 a = out_of[0], b = out_of[1], c = out_of[2], d = out_of[3];
        into[0] = a, into[1] = b, into[2] = c, into[3] = d;
    }
    for (; count; count--)
        *into++ = *out_of++;
}

static NOINLINE void copy_bytes(u8 *into, const u8 *out_of, u64 count)
{
    for (; count; count--)
        *into++ = *out_of++;
}

static NOINLINE void fill(u64 *into, u64 value, u64 count)
{
    for (; count; count--)
        *into++ = value;
}

u64 kernel_run(u64 rounds)
{
    u64 sum = 0, state = 9;
    for (u64 n = 0; n < SIZE / 8; n++)
        from[n] = next_random(&state) << 32 | next_random(&state);
    for (u64 round = 0; round < rounds; round++) {
        for (u64 block = 64; block <= SIZE; block *= 16)
            for (u64 at = 0; at < SIZE; at += block)
                copy_words(to + at / 8, from + at / 8, block / 8);
        copy_bytes((u8 *)to + 1, (const u8 *)from, SIZE / 4);
        sum = mix(sum, to[round * 37 % (SIZE / 8)]);
        fill(to, round, SIZE / 8);
        from[round % (SIZE / 8)] += sum;
    }
    return sum;
}
