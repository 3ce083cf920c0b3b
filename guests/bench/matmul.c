/* Fused multiply-add in double precision: products of matrices. */
#include "bench.h"

#define N 160
const char kernel_name[] = "matmul";
const u64 kernel_rounds = 16;
static double a[N][N], b[N][N], c[N][N];

u64 kernel_run(u64 rounds)
{
    u64 state = 11;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = (double)next_random(&state) * 0x1p-31 - 0.5;
            b[i][j] = (double)next_random(&state) * 0x1p-31 - 0.5;
        }
    for (u64 round = 0; round < rounds; round++) {
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                double sum = 0;
                for (int k = 0; k < N; k++)
                    sum = __builtin_fma(a[i][k], b[k][j], sum);
                c[i][j] = sum;
            }
        /* The next factor is this product, with small entries again. */
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++)
                a[i][j] = c[i][j] * 0.25;
    }
    u64 sum = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            union { double value; u64 bits; } both = {c[i][j]};
            sum = mix(sum, both.bits);
        }
    return sum;
}
