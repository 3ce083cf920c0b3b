/* Dependent loads over 32 MiB: more than the caches near the processor hold, more than a TLB reaches. */
#define CELLS 524288
#include "chase.h"

const char kernel_name[] = "chase_32m";
const u64 kernel_rounds = 3000000;
