/* Dependent loads over 32 MiB: more than the caches near a processor hold, and than its own TLB reaches, but just what
 * 8192 translations of pages of 4 KiB do. */
#define CELLS 524288
#include "chase.h"

const char kernel_name[] = "chase_32m";
const u64 kernel_rounds = 3000000;
