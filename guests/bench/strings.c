/* Bytes: a checksum by table, lengths, comparisons, searches and hashes of words of a text. */
#include "bench.h"

#define SIZE 65536
const char kernel_name[] = "strings";
const u64 kernel_rounds = 500;
static u8 text[SIZE];
static u32 crc_table[256], counts[4096];

void kernel_setup(void)
{
    /* The reflected polynomial of IEEE 802.3. */
    for (u32 n = 0; n < 256; n++) {
        u32 value = n;
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ 0xedb88320 : value >> 1;
        crc_table[n] = value;
    }
    u64 state = 21;
    for (u32 at = 0; at < SIZE - 1;) {
        for (u32 len = 1 + next_random(&state) % 9; len && at < SIZE - 2; len--)
            text[at++] = 'a' + next_random(&state) % 6;
        text[at++] = next_random(&state) % 12 ? ' ' : 0;
    }
}

static NOINLINE u32 crc(const u8 *bytes, u64 count)
{
    u32 value = ~0u;
    while (count--)
        value = value >> 8 ^ crc_table[(value ^ *bytes++) & 255];
    return ~value;
}

static NOINLINE u64 length(const u8 *string)
{
    const u8 *at = string;
    while (*at)
        at++;
    return at - string;
}

static NOINLINE int order(const u8 *a, const u8 *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a - *b;
}

static NOINLINE const u8 *find(const u8 *string, u8 wanted)
{
    while (*string && *string != wanted)
        string++;
    return string;
}

u64 kernel_run(u64 rounds)
{
    u64 sum = 0;
    for (u64 round = 0; round < rounds; round++) {
        text[round * 71 % (SIZE - 2)] = 'a' + round % 26;
        sum = mix(sum, crc(text, SIZE));
        const u8 *last = text;
        for (const u8 *at = text; at < text + SIZE - 1; at += length(at) + 1) {
            sum += order(last, at) < 0;
            last = at;
            for (const u8 *word = at; *word;) {
                const u8 *stop = find(word, ' ');
                u32 hash = 2166136261u;
                for (; word < stop; word++)
                    hash = (hash ^ *word) * 16777619u;
                counts[hash >> 20]++;
                if (*word)
                    word++;
            }
        }
    }
    for (int n = 0; n < 4096; n++)
        sum = mix(sum, counts[n]);
    return sum;
}
