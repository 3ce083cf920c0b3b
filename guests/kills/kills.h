/* What the guest's parts know of each other. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

/* Bytes of a block, and blocks of the disk. */
#define BLOCK 4096
#define BLOCKS 8192
/* Most blocks that an event writes, and that it zeroes. */
#define MOST 8

/* Blocks to be filled with the event's number, word for word, or zeroed. */
struct event {
    int zero;
    u64 first;
    u32 count;
};

/* The common part: for ever, after `text`, which is "SEED,BATCH". */
void write_for_ever(const char *text);

/* Each guest's own: begins an event; waits for all events, and has the batch behind them flushed; says something. */
void begin(u64 number, struct event event);
void flush(u64 batch);
void say(const char *text);

/* Says a line of a word and a number. */
void tell(const char *word, u64 number);
