/* Multiplications, additions and comparisons in double precision that depend on each other: the Mandelbrot set. */
#include "bench.h"

const char kernel_name[] = "mandel";
const u64 kernel_rounds = 4;

u64 kernel_run(u64 rounds)
{
    enum { SIZE = 200, MOST = 400 };
    u64 sum = 0;
    for (u64 round = 0; round < rounds; round++)
        for (int row = 0; row < SIZE; row++)
            for (int column = 0; column < SIZE; column++) {
                double x = -2.0 + 2.6 * column / SIZE, y = -1.3 + 2.6 * row / SIZE;
                double re = 0, im = 0, re2 = 0, im2 = 0;
                int n = 0;
                while (n < MOST && re2 + im2 <= 4.0) {
                    im = 2.0 * re * im + y;
                    re = re2 - im2 + x;
                    re2 = re * re;
                    im2 = im * im;
                    n++;
                }
                sum = mix(sum, n);
            }
    return sum;
}
