/* Rotations, additions and logic in registers: SHA-256 (FIPS 180-4) of a buffer, each digest fed into the next. */
#include "bench.h"

const char kernel_name[] = "sha";
const u64 kernel_rounds = 2000;
static u32 constants[64];
static u8 buffer[16384];

/* FIPS 180-4, 4.2.2: the fractions of the cube roots of the first 64 primes. They are computed here, in integers. */
static u32 root_fraction(u64 prime)
{
    /* The greatest r with r^3 <= prime * 2^96, whose low 32 bits are the fraction. */
    unsigned __int128 r = 0;
    for (int bit = 35; bit >= 0; bit--) {
        unsigned __int128 t = r | (unsigned __int128)1 << bit;
        /* t < 2^36: t^3 < 2^108 */
        if (t * t * t <= (unsigned __int128)prime << 96)
            r = t;
    }
    return (u32)r;
}

void kernel_setup(void)
{
    u64 count = 0, state = 1;
    for (u64 n = 2; count < 64; n++) {
        int prime = 1;
        for (u64 d = 2; d * d <= n; d++)
            if (n % d == 0)
                prime = 0;
        if (prime)
            constants[count++] = root_fraction(n);
    }
    for (u64 n = 0; n < sizeof buffer; n++)
        buffer[n] = next_random(&state);
}

static inline u32 rotated(u32 x, int by) { return x >> by | x << (32 - by); }

static NOINLINE void compress(u32 *hash, const u8 *block)
{
    u32 w[64];
    for (int t = 0; t < 16; t++)
        w[t] = (u32)block[4 * t] << 24 | block[4 * t + 1] << 16 | block[4 * t + 2] << 8 | block[4 * t + 3];
    for (int t = 16; t < 64; t++) {
        u32 s0 = rotated(w[t - 15], 7) ^ rotated(w[t - 15], 18) ^ w[t - 15] >> 3;
        u32 s1 = rotated(w[t - 2], 17) ^ rotated(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = s1 + w[t - 7] + s0 + w[t - 16];
    }
    u32 a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4], f = hash[5], g = hash[6], h = hash[7];
    for (int t = 0; t < 64; t++) {
        u32 sum1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
        u32 t1 = h + sum1 + ((e & f) ^ (~e & g)) + constants[t] + w[t];
        u32 sum0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
        u32 t2 = sum0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    hash[0] += a, hash[1] += b, hash[2] += c, hash[3] += d;
    hash[4] += e, hash[5] += f, hash[6] += g, hash[7] += h;
}

u64 kernel_run(u64 rounds)
{
    u32 hash[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    for (u64 round = 0; round < rounds; round++)
        for (u64 block = 0; block < sizeof buffer; block += 64)
            compress(hash, buffer + block);
    return (u64)hash[0] << 32 | hash[1];
}
