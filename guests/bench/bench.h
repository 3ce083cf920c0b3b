/* What every kernel and the three forms share. Everything is freestanding C: no library, so that all forms run the
 * same instructions. */
#ifndef BENCH_H
#define BENCH_H
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef int i32;
typedef long i64;

#define NOINLINE __attribute__((noinline, noclone))

/* A kernel is one file that defines these. */
extern const char kernel_name[];
extern const u64 kernel_rounds;      /* how often, unless ROUNDS says otherwise */
void kernel_setup(void);             /* not timed */
u64 kernel_run(u64 rounds);          /* timed; gives a checksum that depends on all it did */
/* Called instead of main's own "begin, run, end" by files that time several parts. */
int kernel_parts(void);

/* What a form provides. */
void say(const char *text);
u64 ticks(void);                     /* the guest's own clock, for comparison only */
extern const u64 ticks_per_second;
unsigned workers(void);              /* harts, or threads */
/* Runs work(n) on `count` harts (n = 0..count-1) at once and returns when all are done. */
void together(unsigned count, void (*work)(unsigned));

/* What main.c provides. */
void say_number(u64 value);
void begin(const char *name);
void end(const char *name, u64 checksum, u64 units);

static inline u64 next_random(u64 *state)
{
    /* A linear congruential step with odd increment has the full period; the high half is the better one. */
    *state = *state * 6364136223846793005ul + 1442695040888963407ul;
    return *state >> 33;
}

static inline u64 mix(u64 sum, u64 value)
{
    return (sum ^ value) * 0x9e3779b97f4a7c15ul + (sum >> 29);
}
#endif
