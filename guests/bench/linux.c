/* The form of a Linux program: for the same C on the host, under QEMU's user mode, and inside a guest. */
#define _GNU_SOURCE
#include <pthread.h>
#include <time.h>
#include <unistd.h>
#include "bench.h"

const u64 ticks_per_second = 1000000000;

void say(const char *text)
{
    static char line[256];
    static unsigned len;
    for (; *text; text++) {
        line[len++] = *text;
        /* A whole line at a time, so that a reader sees it at once. */
        if (*text == '\n' || len == sizeof line) {
            if (write(1, line, len) < 0)
                _exit(1);
            len = 0;
        }
    }
}

u64 ticks(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ul + now.tv_nsec;
}

unsigned workers(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 2 ? 1 : 2;
}

static void (*the_work)(unsigned);

static void *thread(void *number)
{
    the_work((unsigned)(u64)number);
    return 0;
}

void together(unsigned count, void (*work)(unsigned))
{
    pthread_t threads[8];
    the_work = work;
    for (unsigned n = 1; n < count; n++)
        if (pthread_create(&threads[n], 0, thread, (void *)(u64)n))
            _exit(1);
    work(0);
    for (unsigned n = 1; n < count; n++)
        pthread_join(threads[n], 0);
}
