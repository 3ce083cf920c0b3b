/* Indirect jumps: an interpreter of bytecode that jumps from each operation to the next through a table. */
#include "bench.h"

const char kernel_name[] = "interp";
const u64 kernel_rounds = 2000000;

enum { PUSH, GET, SET, ADD, SUB, MUL, XOR, SHIFT, LESS, JUMP, UNLESS, ELEMENT, STORE, HALT };

/* A stack machine's program with the variables 0 (limit), 1 (i) and 2 (x). The operand of JUMP and UNLESS is the
 * place to go on at:
 *     while (i < limit) {
 *         x = x * 31 ^ x >> 7;
 *         if (x < t[x]) x = x + t[i]; else t[x] = x - i;
 *         i = i + 1;
 *     }
 * where t has 64 elements, of whose index only the low bits count. */
static const u8 program[] = {
    /*  0 */ GET, 1, GET, 0, LESS, UNLESS, 55,
    /*  7 */ GET, 2, PUSH, 31, MUL, GET, 2, PUSH, 7, SHIFT, XOR, SET, 2,
    /* 20 */ GET, 2, GET, 2, ELEMENT, LESS, UNLESS, 38,
    /* 28 */ GET, 2, GET, 1, ELEMENT, ADD, SET, 2, JUMP, 46,
    /* 38 */ GET, 2, GET, 1, SUB, GET, 2, STORE,
    /* 46 */ GET, 1, PUSH, 1, ADD, SET, 1, JUMP, 0,
    /* 55 */ HALT,
};
static u64 table[64];

static NOINLINE u64 interpret(const u8 *code, u64 limit, u64 seed)
{
    static void *const labels[] = {
        [PUSH] = &&push, [GET] = &&get, [SET] = &&set, [ADD] = &&add, [SUB] = &&sub, [MUL] = &&mul, [XOR] = &&xor,
        [SHIFT] = &&shift, [LESS] = &&less, [JUMP] = &&jump, [UNLESS] = &&unless, [ELEMENT] = &&element,
        [STORE] = &&store, [HALT] = &&halt,
    };
    u64 stack[16], *top = stack, variables[3] = {limit, 0, seed};
    const u8 *at = code;
#define NEXT goto *labels[*at++]
    NEXT;
push:
    *top++ = *at++;
    NEXT;
get:
    *top++ = variables[*at++];
    NEXT;
set:
    variables[*at++] = *--top;
    NEXT;
add:
    top--, top[-1] += top[0];
    NEXT;
sub:
    top--, top[-1] -= top[0];
    NEXT;
mul:
    top--, top[-1] *= top[0];
    NEXT;
xor:
    top--, top[-1] ^= top[0];
    NEXT;
shift:
    top--, top[-1] >>= top[0] & 63;
    NEXT;
less:
    top--, top[-1] = top[-1] < top[0];
    NEXT;
jump:
    at = code + *at;
    NEXT;
unless:
    at = *--top ? at + 1 : code + *at;
    NEXT;
element:
    top[-1] = table[top[-1] & 63];
    NEXT;
store:
    top -= 2, table[top[1] & 63] = top[0];
    NEXT;
halt:
    return variables[2];
}

u64 kernel_run(u64 rounds)
{
    u64 sum = interpret(program, rounds, 12345);
    for (int n = 0; n < 64; n++)
        sum = mix(sum, table[n]);
    return sum;
}
