/* The guest under Linux: process 1's child, which writes to /dev/vda. With an odd seed past the page cache, else through it,
 * from which the kernel writes many blocks at a time. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include "kills.h"

static int disk;
static u64 *data;

void say(const char *text)
{
    size_t length = strlen(text);
    if (write(1, text, length) != (ssize_t)length)
        _exit(1);
    tcdrain(1);                               /* or many lines would wait in the kernel for the serial line */
}

static void fail(const char *why, u64 number)
{
    tell(why, number);
    _exit(1);
}

void begin(u64 number, struct event event)
{
    if (event.zero) {
        unsigned long long range[2] = { event.first * BLOCK, (unsigned long long)event.count * BLOCK };
        if (ioctl(disk, BLKZEROOUT, range))
            fail("failed: zeroes of", number);
        return;
    }
    size_t length = event.count * (size_t)BLOCK;
    for (size_t at = 0; at < length / 8; at++)
        data[at] = number;
    if (pwrite(disk, data, length, event.first * BLOCK) != (ssize_t)length)
        fail("failed: write of", number);
}

void flush(u64 batch)
{
    if (fdatasync(disk))
        fail("failed: flush of", batch);
    tell("flushed", batch);
}

int main(void)
{
    char line[4096];
    int file = open("/proc/cmdline", O_RDONLY);
    ssize_t length = read(file, line, sizeof line - 1);
    line[length > 0 ? length : 0] = 0;
    char *text = strstr(line, "kills=");
    if (!text)
        fail("failed: no parameters in", length);
    text += 6;
    disk = open("/dev/vda", O_RDWR | (strtoul(text, 0, 10) & 1 ? O_DIRECT : 0));
    if (disk < 0 || posix_memalign((void **)&data, BLOCK, MOST * BLOCK))
        fail("failed: no disk", 0);
    write_for_ever(text);
}
