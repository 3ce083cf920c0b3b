/* A mixture as embedded programs have it, in the proportions that CoreMark made usual: a linked list, small integer
 * matrices, a state machine that reads numbers, and a 16-bit checksum of the results. */
#include "bench.h"

const char kernel_name[] = "core";
const u64 kernel_rounds = 9000;

/* The checksum: CRC-16 with the polynomial x^16 + x^15 + x^2 + 1, bit by bit. */
static NOINLINE u16 crc16(u16 crc, u16 value)
{
    for (int bit = 0; bit < 16; bit++) {
        int carry = (crc ^ value) & 1;
        crc >>= 1;
        value >>= 1;
        if (carry)
            crc ^= 0xa001;
    }
    return crc;
}

/* The list. */
#define NODES 64
struct node { struct node *next; i32 key, place; };
static struct node nodes[NODES];
typedef int (*order)(const struct node *, const struct node *);

static NOINLINE int by_key(const struct node *a, const struct node *b) { return a->key - b->key; }
static NOINLINE int by_place(const struct node *a, const struct node *b) { return a->place - b->place; }

static struct node *build_list(u64 *state)
{
    for (int n = 0; n < NODES; n++)
        nodes[n] = (struct node){n + 1 < NODES ? &nodes[n + 1] : 0, next_random(state) & 0x7fff, n};
    return nodes;
}

static NOINLINE struct node *find(struct node *list, i32 key)
{
    while (list && list->key != key)
        list = list->next;
    return list;
}

static NOINLINE struct node *reverse(struct node *list)
{
    struct node *done = 0;
    while (list) {
        struct node *next = list->next;
        list->next = done;
        done = list;
        list = next;
    }
    return done;
}

static NOINLINE struct node *sorted(struct node *list, int count, order compare)
{
    if (count == 1) {
        list->next = 0;
        return list;
    }
    struct node *second = list;
    for (int n = 0; n < count / 2; n++)
        second = second->next;
    second = sorted(second, count - count / 2, compare);
    /* Sorting the first half cuts it off behind its last node. */
    list = sorted(list, count / 2, compare);
    struct node *head = 0, **tail = &head;
    while (list && second) {
        struct node **from = compare(list, second) <= 0 ? &list : &second;
        *tail = *from;
        tail = &(*from)->next;
        *from = *tail;
    }
    *tail = list ? list : second;
    return head;
}

static u16 list_part(u16 crc, u64 *state)
{
    struct node *list = build_list(state);
    for (int n = 0; n < 20; n++) {
        struct node *found = find(list, nodes[n * 13 % NODES].key + (n & 1));
        crc = crc16(crc, found ? found->place : 0xffff);
        list = reverse(list);
    }
    list = sorted(list, NODES, by_key);
    for (struct node *at = list; at; at = at->next)
        crc = crc16(crc, at->key);
    list = sorted(list, NODES, by_place);
    return crc16(crc, list->key);
}

/* The matrices. */
#define N 10
static short left[N][N], right[N][N];
static i32 product[N][N];

static NOINLINE i32 matrix_sum(void)
{
    i32 sum = 0, last = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            sum += product[i][j] > last ? 10 : 1;
            last = product[i][j];
        }
    return sum;
}

static u16 matrix_part(u16 crc, u64 *state)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            left[i][j] = next_random(state) & 0xff, right[i][j] = next_random(state) & 0xff;
    short factor = next_random(state) & 7;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            left[i][j] += factor, product[i][j] = left[i][j] * factor;
    crc = crc16(crc, matrix_sum());
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            i32 sum = 0;
            for (int k = 0; k < N; k++)
                sum += left[i][k] * right[k][j];
            product[i][j] = sum;
        }
    crc = crc16(crc, matrix_sum());
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            i32 sum = 0;
            for (int k = 0; k < N; k++) {
                i32 one = left[i][k] * right[k][j];
                sum += (one >> 2 & 15) * (one >> 5 & 127);
            }
            product[i][j] = sum;
        }
    return crc16(crc, matrix_sum());
}

/* The state machine: what kind of number a text is. */
enum state { START, SIGN, INTEGER, POINT, FRACTION, EXPONENT, EXPONENT_SIGN, SCIENTIFIC, INVALID, STATES };
static const char *const words[] = {
    "5012", "+122", "-874", "35.54400", ".1234500", "-110.700", "+0.64400", "5.500e+3", "-.123e-2", "-87e+832",
    "+0.6e-12", "T0.3e-1F", "-T.T++Tq", "1T3.4e4z", "34.0e-T^", "0e", "++1", "e5",
};

static int digit(u8 c) { return c >= '0' && c <= '9'; }

static NOINLINE enum state step(enum state state, u8 c)
{
    switch (state) {
    case START:
        return digit(c) ? INTEGER : c == '+' || c == '-' ? SIGN : c == '.' ? POINT : INVALID;
    case SIGN:
        return digit(c) ? INTEGER : c == '.' ? POINT : INVALID;
    case INTEGER:
        return digit(c) ? INTEGER : c == '.' ? FRACTION : c == 'e' ? EXPONENT : INVALID;
    case POINT:
        return digit(c) ? FRACTION : INVALID;
    case FRACTION:
        return digit(c) ? FRACTION : c == 'e' ? EXPONENT : INVALID;
    case EXPONENT:
        return digit(c) ? SCIENTIFIC : c == '+' || c == '-' ? EXPONENT_SIGN : INVALID;
    case EXPONENT_SIGN:
    case SCIENTIFIC:
        return digit(c) ? SCIENTIFIC : INVALID;
    default:
        return INVALID;
    }
}

static u16 state_part(u16 crc, u64 *state)
{
    u32 finals[STATES] = {0}, passed[STATES] = {0};
    for (u32 n = 0; n < 3 * sizeof words / sizeof *words; n++) {
        const char *word = words[next_random(state) % (sizeof words / sizeof *words)];
        enum state now = START;
        for (; *word && now != INVALID; word++)
            passed[now]++, now = step(now, *word);
        finals[now]++;
    }
    for (int n = 0; n < STATES; n++)
        crc = crc16(crc16(crc, finals[n]), passed[n]);
    return crc;
}

u64 kernel_run(u64 rounds)
{
    u64 state = 33;
    u16 crc = 0;
    for (u64 round = 0; round < rounds; round++) {
        crc = list_part(crc, &state);
        crc = matrix_part(crc, &state);
        crc = state_part(crc, &state);
    }
    return (state >> 33) << 16 | crc;
}
